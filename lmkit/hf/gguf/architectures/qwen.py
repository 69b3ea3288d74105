"""Qwen 2 and 3, dense and as a mixture of experts."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import (
    ATTENTION,
    BIASES,
    EMBEDDINGS,
    EQUAL_HEADS,
    EXPERTS,
    FEED_FORWARD,
    GATED,
    HEADS,
    MIXTURE,
    NO_OUT_BIAS,
    NORMS,
    QK_NORMS,
    RMS_NORM,
    SIZES,
    TIED,
)
from lmkit.hf.gguf.entries import Number
from lmkit.hf.gguf.rope import Rope
from lmkit.hf.tables.keys import Is, Key

PARTS = (*SIZES, *HEADS, BIASES, NO_OUT_BIAS, *RMS_NORM, TIED, Rope())
QK_NORM = (
    Is("attention.qk_norm", "RMSNorm"),
    Number("attention.layer_norm_rms_epsilon", "attention.qk_norm.eps"),
)

QWEN2 = Architecture(
    name="qwen2",
    keys=(*PARTS, EQUAL_HEADS, Is("attention.bias", True), *GATED),
    weights=(*EMBEDDINGS, *ATTENTION, *FEED_FORWARD, *NORMS),
)
QWEN3 = Architecture(
    name="qwen3",
    keys=(*PARTS, *QK_NORM, *GATED),
    weights=(*EMBEDDINGS, *ATTENTION, *QK_NORMS, *FEED_FORWARD, *NORMS),
)
QWEN3_MOE = Architecture(
    name="qwen3moe",
    keys=(*PARTS, *QK_NORM, *MIXTURE, Key("expert_feed_forward_length", "feed_forward.hidden")),
    weights=(*EMBEDDINGS, *ATTENTION, *QK_NORMS, *EXPERTS, *NORMS),
)
