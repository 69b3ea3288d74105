"""OLMo 2 (arXiv:2501.00656) and OLMo 3, which norm what branches give, and queries and keys over all heads."""

from lmkit.hf.tables.families.llama import (
    ATTENTION,
    BIASES,
    EMBEDDINGS,
    FEED_FORWARD,
    GATED,
    HEADS,
    SIZES,
    UNTIED,
    USUAL_SCALE,
)
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Is, Key
from lmkit.hf.tables.layer_keys import FULL, SLIDING, Windows
from lmkit.hf.tables.rope import Rope, RopeByType
from lmkit.hf.tables.rules import Rename
from lmkit.hf.tables.values import Config


def all_but_fourth(config: Config) -> list[str]:
    """Windows in three layers of four."""
    return [SLIDING if (number + 1) % 4 else FULL for number in range(config["num_hidden_layers"])]


PARTS = (
    *SIZES,
    *HEADS,
    USUAL_SCALE,
    BIASES,
    Is("block", "BranchNorm"),
    Is("norm", "RMSNorm"),
    Key("rms_norm_eps", "norm.eps", 1e-5),
    Is("attention.qk_norm", "RMSNorm"),
    Key("rms_norm_eps", "attention.qk_norm.eps", 1e-5),
    Is("attention.qk_norm_over", "heads"),
    *GATED,
    UNTIED,
)

OLMO2 = Family(
    name="olmo2",
    architecture="Olmo2ForCausalLM",
    keys=(*PARTS, Rope()),
    weights=(
        *EMBEDDINGS,
        *ATTENTION,
        *FEED_FORWARD,
        Rename("model.layers.{n}.self_attn.q_norm.weight", "blocks.{n}.attention.q_norm.weight"),
        Rename("model.layers.{n}.self_attn.k_norm.weight", "blocks.{n}.attention.k_norm.weight"),
        Rename("model.layers.{n}.post_attention_layernorm.*", "blocks.{n}.attention_norm.*"),
        Rename("model.layers.{n}.post_feedforward_layernorm.*", "blocks.{n}.feed_forward_norm.*"),
    ),
)

OLMO3 = Family(
    name="olmo3",
    architecture="Olmo3ForCausalLM",
    keys=(*PARTS, Windows(all_but_fourth), RopeByType(theta=500000.0, flat=True)),
    weights=OLMO2.weights,
)
