"""Transforms: what a recipe has done to a network once it is built."""

from lmkit.transforms.checkpointing import Checkpointing
from lmkit.transforms.freeze import Freeze
from lmkit.transforms.transform import Transform, transformed

__all__ = ["Checkpointing", "Freeze", "Transform", "transformed"]
