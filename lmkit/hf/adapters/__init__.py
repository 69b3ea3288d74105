"""Adapters in the format of peft, by the names of the exported base; `lmkit.transforms.merging` merges them instead."""

from lmkit.hf.adapters.read import read_adapter
from lmkit.hf.adapters.write import write_adapter

__all__ = ["read_adapter", "write_adapter"]
