"""Qwen 2 and 2.5 (arXiv:2407.10671, 2412.15115), Qwen 3 and its mixtures of experts (arXiv:2505.09388)."""

from lmkit.hf.tables.binding import where
from lmkit.hf.tables.families.llama import (
    ATTENTION,
    BIASES,
    EMBEDDINGS,
    FEED_FORWARD,
    GATED,
    HEADS,
    LLAMA,
    NORMS,
    RMS_NORM,
    SILU,
    SIZES,
    UNTIED,
    USUAL_SCALE,
)
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Is, Key
from lmkit.hf.tables.layer_keys import FULL, SLIDING, DenseAmong, Windows
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rules import Rename, Stack
from lmkit.hf.tables.values import Config, checked


def last_layers(config: Config) -> list[str]:
    """Windows in the layers past the first `max_window_layers`, as where a config does not list them."""
    first = checked({"max_window_layers": 28, **config}, "max_window_layers", int, least=0)
    return [FULL if number < first else SLIDING for number in range(config["num_hidden_layers"])]


WINDOWS = Windows(last_layers, switch="use_sliding_window")
QK_NORM = (Is("attention.qk_norm", "RMSNorm"), Key("rms_norm_eps", "attention.qk_norm.eps", 1e-6))
QK_NORMS = tuple(
    Rename(f"model.layers.{{n}}.self_attn.{name}.weight", f"blocks.{{n}}.attention.{name}.weight")
    for name in ("q_norm", "k_norm")
)

QWEN2 = Family(
    name="qwen2",
    architecture="Qwen2ForCausalLM",
    keys=(
        *SIZES,
        *HEADS,
        USUAL_SCALE,
        Is("attention.bias", True),
        Is("attention.out_bias", False),
        WINDOWS,
        *GATED,
        *RMS_NORM,
        UNTIED,
        Rope(),
    ),
    weights=LLAMA.weights,
    known=("max_window_layers", "use_mrope"),
)

QWEN3 = Family(
    name="qwen3",
    architecture="Qwen3ForCausalLM",
    keys=(*SIZES, *HEADS, USUAL_SCALE, BIASES, *QK_NORM, WINDOWS, *GATED, *RMS_NORM, UNTIED, Rope()),
    weights=(*LLAMA.weights, *QK_NORMS),
    known=("max_window_layers",),
)

DENSE, MIXED = "Gated", "MixtureOfExperts"
EXPERTS = where(
    lambda parts: parts["feed_forward"] == MIXED,
    *(
        Stack(f"model.layers.{{n}}.mlp.experts.{{e}}.{theirs}_proj.weight", f"blocks.{{n}}.feed_forward.{ours}.weight")
        for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
    ),
)
IN_DENSE_LAYERS = where(lambda parts: parts["feed_forward"] == DENSE, *FEED_FORWARD)
QWEN3_MOE = Family(
    name="qwen3_moe",
    architecture="Qwen3MoeForCausalLM",
    keys=(
        *SIZES,
        *HEADS,
        USUAL_SCALE,
        BIASES,
        *QK_NORM,
        Windows(lambda config: [SLIDING] * config["num_hidden_layers"], switch="use_sliding_window", listed=False),
        DenseAmong(),
        Key("intermediate_size", "feed_forward.hidden", only=DENSE),
        Is("feed_forward.router", "SoftmaxRouter", only=MIXED),
        Key(("num_experts", "num_local_experts"), "feed_forward.experts", only=MIXED),
        Key("num_experts_per_tok", "feed_forward.active", only=MIXED),
        Key("moe_intermediate_size", "feed_forward.hidden", only=MIXED),
        Key("norm_topk_prob", "feed_forward.router.normalise", False, only=MIXED),
        SILU,
        *RMS_NORM,
        UNTIED,
        Rope(),
    ),
    weights=(
        *EMBEDDINGS,
        *ATTENTION,
        *QK_NORMS,
        *NORMS,
        *IN_DENSE_LAYERS,
        Rename("model.layers.{n}.mlp.gate.weight", "blocks.{n}.feed_forward.router.project.weight"),
        *EXPERTS,
    ),
    known=("max_window_layers",),
)
