"""OLMo 2 and 3, which are one architecture to llama.cpp; with windows it knows a plain rotation only."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import (
    ATTENTION,
    EMBEDDINGS,
    EQUAL_HEADS,
    FEED_FORWARD,
    GATED,
    HEADS,
    NO_OUT_BIAS,
    QK_NORMS,
    RMS_NORM,
    SIZES,
    TIED,
)
from lmkit.hf.gguf.architectures.qwen import QK_NORM
from lmkit.hf.gguf.entries import Windows
from lmkit.hf.gguf.rope import NTK, PLAIN, Rope
from lmkit.hf.tables.keys import Is
from lmkit.hf.tables.rules import Rename

PARTS = (
    *SIZES,
    *HEADS,
    EQUAL_HEADS,
    Is("attention.bias", False),
    NO_OUT_BIAS,
    Is("block", "BranchNorm"),
    *RMS_NORM,
    *QK_NORM,
    Is("attention.qk_norm_over", "heads"),
    *GATED,
    TIED,
)
WEIGHTS = (
    *EMBEDDINGS,
    *ATTENTION,
    *QK_NORMS,
    *FEED_FORWARD,
    Rename("blk.{n}.post_attention_norm.weight", "blocks.{n}.attention_norm.weight"),
    Rename("blk.{n}.post_ffw_norm.weight", "blocks.{n}.feed_forward_norm.weight"),
)

OLMO2 = Architecture(name="olmo2", keys=(*PARTS, Rope()), weights=WEIGHTS, copied="output.weight")
OLMO3 = Architecture(
    name="olmo2", keys=(*PARTS, Windows(), Rope((PLAIN, NTK))), weights=WEIGHTS, copied="output.weight"
)
