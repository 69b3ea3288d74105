"""Modelling code for networks that no family of transformers can hold: the layer files they use, and a causal LM."""

from lmkit.hf.own_code.write import write_code

__all__ = ["write_code"]
