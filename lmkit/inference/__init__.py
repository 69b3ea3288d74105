"""Inference: from a prompt to text."""

from lmkit.inference.conversation import Conversation
from lmkit.inference.generate import complete, generate, go_on
from lmkit.inference.sampling import Sampler

__all__ = ["Conversation", "Sampler", "complete", "generate", "go_on"]
