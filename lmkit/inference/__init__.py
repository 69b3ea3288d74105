"""Inference: from a prompt to text."""

from lmkit.inference.generate import complete, generate
from lmkit.inference.sampling import Sampler

__all__ = ["Sampler", "complete", "generate"]
