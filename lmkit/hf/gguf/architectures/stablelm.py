"""StableLM 2, whose norms of queries and keys, each head's its own, are not known here."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import (
    ATTENTION,
    BIASES,
    EMBEDDINGS,
    EQUAL_HEADS,
    FEED_FORWARD,
    GATED,
    HEADS,
    LAYER_NORM,
    NO_OUT_BIAS,
    NORMS,
    SIZES,
    TIED,
)
from lmkit.hf.gguf.rope import Rope
from lmkit.hf.tables.keys import Cases
from lmkit.hf.tables.rules import Rename

STABLELM = Architecture(
    name="stablelm",
    keys=(
        *SIZES,
        *HEADS,
        EQUAL_HEADS,
        BIASES,
        NO_OUT_BIAS,
        *LAYER_NORM,
        Cases("use_parallel_residual", {True: {"block": "Parallel"}, False: {"block": "PreNorm"}}),
        *GATED,
        TIED,
        Rope(partial=True),
    ),
    weights=(
        *EMBEDDINGS,
        *ATTENTION,
        *FEED_FORWARD,
        *NORMS,
        Rename("blk.{n}.attn_norm.*", "blocks.{n}.norm.*"),
    ),
    copied="output.weight",
)
