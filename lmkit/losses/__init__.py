"""Losses as pure functions of tensors, and the parts that choose among those of preferences."""

from lmkit.losses.cross_entropy import chunked_cross_entropy, cross_entropy
from lmkit.losses.log_probabilities import chunked_log_probabilities, log_probabilities

__all__ = ["chunked_cross_entropy", "chunked_log_probabilities", "cross_entropy", "log_probabilities"]
