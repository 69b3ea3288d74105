"""gpt-oss (arXiv:2508.10925): sinks, windows by turns, a mixture of experts with biases and clamped gates.

Its experts are stored together and transposed, gate and up number by number in turn.
"""

from lmkit.hf.tables.families.gemma import by_turns
from lmkit.hf.tables.families.llama import ATTENTION, EMBEDDINGS, HEADS, NORMS, SIZES, UNTIED, USUAL_SCALE
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Is, Key, Must
from lmkit.hf.tables.layer_keys import Windows
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rules import Rename, Split, Transpose

FEED_FORWARD = "blocks.{n}.feed_forward"
EXPERTS, HIDDEN = "feed_forward.experts", "feed_forward.hidden"

YARN = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}

GPT_OSS = Family(
    name="gpt_oss",
    architecture="GptOssForCausalLM",
    keys=(
        *SIZES,
        *HEADS,
        USUAL_SCALE,
        Is("attention.sinks", True),
        Is("attention.bias", True),
        Is("attention.out_bias", True),
        Must("attention_bias", True),
        Windows(by_turns, length=128),
        Is("feed_forward", "ClampedMixture"),
        Key("num_local_experts", EXPERTS),
        Key(("num_experts_per_tok", "experts_per_token"), "feed_forward.active"),
        Key("intermediate_size", HIDDEN),
        Is("feed_forward.router", "SoftmaxRouter"),
        Is("feed_forward.router.bias", True),
        Must("hidden_act", "silu"),  # which it does not use: its gates are its own
        Must("swiglu_limit", 7.0),
        Is("norm", "RMSNorm"),
        Key("rms_norm_eps", "norm.eps", 1e-5),
        UNTIED,
        Rope(theta=150000.0, usual=YARN),
    ),
    weights=(
        *EMBEDDINGS,
        *ATTENTION,
        *NORMS,
        Rename("model.layers.{n}.self_attn.sinks", "blocks.{n}.attention.sinks"),
        Rename("model.layers.{n}.mlp.router.*", f"{FEED_FORWARD}.router.project.*"),
        Split(
            "model.layers.{n}.mlp.experts.gate_up_proj",
            Transpose("", f"{FEED_FORWARD}.gate.weight"),
            Transpose("", f"{FEED_FORWARD}.up.weight"),
            along=-1,
            groups=HIDDEN,
        ),
        Split(
            "model.layers.{n}.mlp.experts.gate_up_proj_bias",
            Rename("", f"{FEED_FORWARD}.gate.bias", rows=EXPERTS),
            Rename("", f"{FEED_FORWARD}.up.bias", rows=EXPERTS),
            along=-1,
            groups=HIDDEN,
        ),
        Transpose("model.layers.{n}.mlp.experts.down_proj", f"{FEED_FORWARD}.out.weight"),
        Rename("model.layers.{n}.mlp.experts.down_proj_bias", f"{FEED_FORWARD}.out.bias", rows=EXPERTS),
    ),
    known=("initial_context_length",),
)
