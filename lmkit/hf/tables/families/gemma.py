"""Gemma 2 (arXiv:2408.00118) and the text models of Gemma 3 (arXiv:2503.19786)."""

from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.families.llama import ATTENTION, BIASES, EMBEDDINGS, FEED_FORWARD, HEADS, SIZES, TANH
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import ROOT_OF_ONE_OVER, Cases, Is, Key, Must
from lmkit.hf.tables.layer_keys import FULL, SLIDING, Windows
from lmkit.hf.tables.rope import Rope, RopeByType
from lmkit.hf.tables.rules import Rename
from lmkit.hf.tables.values import Config, checked

NORMS = (
    Rename("model.layers.{n}.input_layernorm.*", "blocks.{n}.attention_norm.*"),
    Rename("model.layers.{n}.post_attention_layernorm.*", "blocks.{n}.attention_out_norm.*"),
    Rename("model.layers.{n}.pre_feedforward_layernorm.*", "blocks.{n}.feed_forward_norm.*"),
    Rename("model.layers.{n}.post_feedforward_layernorm.*", "blocks.{n}.feed_forward_out_norm.*"),
)


def by_turns(config: Config) -> list[str]:
    """Windows in every other layer, from the first on."""
    return [FULL if number % 2 else SLIDING for number in range(config["num_hidden_layers"])]


def all_but_every(config: Config) -> list[str]:
    """Windows in all layers but every so many, six where a config does not say."""
    every = checked({"sliding_window_pattern": 6, **config}, "sliding_window_pattern", int)
    return [SLIDING if (number + 1) % every else FULL for number in range(config["num_hidden_layers"])]


def root_of_width(anatomy: Anatomy) -> float:
    """By what the embeddings are multiplied."""
    return float(anatomy.whole["dim"]) ** 0.5


PARTS = (
    *SIZES,
    *HEADS,
    BIASES,
    Key("query_pre_attn_scalar", "attention.scale", 256.0, way=ROOT_OF_ONE_OVER),
    Is("embedding_scale", root_of_width),
    Is("block", "SandwichNorm"),
    Is("norm", "ZeroCentredRMSNorm"),
    Key("rms_norm_eps", "norm.eps", 1e-6),
    Is("feed_forward", "Gated"),
    Key("intermediate_size", "feed_forward.hidden"),
    Cases("hidden_activation", {"gelu_pytorch_tanh": TANH}, "gelu_pytorch_tanh"),
    Key("tie_word_embeddings", "tied", True),
    Must("use_bidirectional_attention", False),
)

GEMMA2 = Family(
    name="gemma2",
    architecture="Gemma2ForCausalLM",
    keys=(
        *PARTS,
        Windows(by_turns),
        Key("attn_logit_softcapping", "attention.soft_cap", 50.0, null=True),
        Key("final_logit_softcapping", "soft_cap", 30.0, null=True),
        Rope(),
    ),
    weights=(*EMBEDDINGS, *ATTENTION, *FEED_FORWARD, *NORMS),
    known=(
        "hidden_act",  # which hidden_activation overrides
        "sliding_window_size",  # which sliding_window overrides
    ),
)

GEMMA3 = Family(
    name="gemma3_text",
    architecture="Gemma3ForCausalLM",
    keys=(
        *PARTS,
        Windows(all_but_every),
        Is("attention.qk_norm", "ZeroCentredRMSNorm"),
        Key("rms_norm_eps", "attention.qk_norm.eps", 1e-6),
        Must("attn_logit_softcapping", None),  # which transformers takes and does not use
        Key("final_logit_softcapping", "soft_cap", None, kind=float),
        RopeByType(theta=1000000.0, local_theta=10000.0, local_key="rope_local_base_freq"),
    ),
    weights=(
        *GEMMA2.weights,
        Rename("model.layers.{n}.self_attn.q_norm.weight", "blocks.{n}.attention.q_norm.weight"),
        Rename("model.layers.{n}.self_attn.k_norm.weight", "blocks.{n}.attention.k_norm.weight"),
    ),
    known=("sliding_window_pattern", "_sliding_window_pattern"),
)
