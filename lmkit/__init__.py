"""lmkit: language models from scratch, out of swappable parts."""

__version__ = "0.1.0"
