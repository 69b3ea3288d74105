"""Transforms: what a recipe has done to a network once it is built."""

from lmkit.transforms.adapter import Adapter
from lmkit.transforms.checkpointing import Checkpointing
from lmkit.transforms.done import check_learns, check_rates, learned_of, packed_in, transformed
from lmkit.transforms.dora import DoRA
from lmkit.transforms.four_bits import FourBits
from lmkit.transforms.freeze import Freeze
from lmkit.transforms.ia3 import IA3
from lmkit.transforms.int4 import Int4
from lmkit.transforms.learning_rate import LearningRate
from lmkit.transforms.lora import LoRA
from lmkit.transforms.nf4 import NF4
from lmkit.transforms.pissa import PiSSA
from lmkit.transforms.transform import Transform

__all__ = [
    "IA3",
    "NF4",
    "Adapter",
    "Checkpointing",
    "DoRA",
    "FourBits",
    "Freeze",
    "Int4",
    "LearningRate",
    "LoRA",
    "PiSSA",
    "Transform",
    "check_learns",
    "check_rates",
    "learned_of",
    "packed_in",
    "transformed",
]
