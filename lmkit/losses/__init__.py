"""Losses as pure functions: a sum over the valid tokens and their number, so that any split of a batch can be added."""

from lmkit.losses.cross_entropy import chunked_cross_entropy, cross_entropy

__all__ = ["chunked_cross_entropy", "cross_entropy"]
