"""Phi 3 and 4: queries, keys and values in one matrix, gate and up in another."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.gpt2 import ONE_MATRIX
from lmkit.hf.gguf.architectures.llama import (
    BIASES,
    EMBEDDINGS,
    EQUAL_HEADS,
    GATED,
    HEADS,
    NO_OUT_BIAS,
    NORMS,
    OUT,
    RMS_NORM,
    SIZES,
    TIED,
)
from lmkit.hf.gguf.rope import LONG, WITHOUT_TENSORS, Rope
from lmkit.hf.tables.rules import Rename, Split

PHI3 = Architecture(
    name="phi3",
    keys=(
        *SIZES,
        *HEADS,
        EQUAL_HEADS,
        BIASES,
        NO_OUT_BIAS,
        *RMS_NORM,
        *GATED,
        TIED,
        Rope((*WITHOUT_TENSORS, LONG), partial=True),
    ),
    weights=(
        *EMBEDDINGS,
        ONE_MATRIX,
        OUT,
        Split("blk.{n}.ffn_up.weight", *(f"blocks.{{n}}.feed_forward.{name}.weight" for name in ("gate", "up"))),
        Rename("blk.{n}.ffn_down.weight", "blocks.{n}.feed_forward.out.weight"),
        *NORMS,
    ),
)
