"""Llama 1 to 3.3 (arXiv:2302.13971, 2307.09288, 2407.21783), and what many families after it have in common with it."""

from lmkit.errors import UserError
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Cases, Is, Key
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rules import Rename
from lmkit.hf.tables.values import Config, needed


def heads_of(config: Config) -> int:
    """Heads of keys where a config does not tell them."""
    return needed(config, "num_attention_heads")


def equal_share(anatomy: Anatomy) -> int:
    """The width of a head where all share that of the network."""
    dim, heads = anatomy.whole["dim"], anatomy.whole["heads"]
    if heads > dim:
        raise UserError(f"config.json tells {heads} heads of a width of {dim}, so that each has none: correct it there")
    return int(dim // heads)


def head_dim_of(config: Config) -> int:
    """The width of a head where a config does not tell it."""
    flat = {"dim": needed(config, "hidden_size"), "heads": needed(config, "num_attention_heads")}
    return equal_share(Anatomy(flat))


SIZES_BUT_CONTEXT = (
    Key("vocab_size", "vocab_size"),
    Key("hidden_size", "dim"),
    Key("num_hidden_layers", "depth"),
    Key("num_attention_heads", "heads"),
)
SIZES = (*SIZES_BUT_CONTEXT, Key("max_position_embeddings", "context"))
HEADS = (
    Is("attention", "SelfAttention"),
    Key("num_key_value_heads", "attention.kv_heads", heads_of),
    Key("head_dim", "attention.head_dim", head_dim_of),
)
USUAL_SCALE = Is("attention.scale", lambda anatomy: anatomy.layers[0]["attention.head_dim"] ** -0.5)
UNBIASED = (Is("attention.bias", False), Is("attention.out_bias", False))
TANH = {"feed_forward.activation": "GELU", "feed_forward.activation.approximate": "tanh"}
SILU = Cases("hidden_act", {"silu": {"feed_forward.activation": "SiLU"}}, "silu")
GATED = (
    Is("feed_forward", "Gated"),
    Key("intermediate_size", "feed_forward.hidden"),
    SILU,
)
RMS_NORM = (Is("norm", "RMSNorm"), Key("rms_norm_eps", "norm.eps", 1e-6))
UNTIED = Key("tie_word_embeddings", "tied", False)
BIASES = Cases(
    "attention_bias",
    {
        False: {"attention.bias": False, "attention.out_bias": False},
        True: {"attention.bias": True, "attention.out_bias": True},
    },
    False,
)

EMBEDDINGS = (
    Rename("model.embed_tokens.weight", "embedding.weight"),
    Rename("model.norm.*", "norm.*"),
    Rename("lm_head.weight", "head.weight"),
)
ATTENTION = tuple(
    Rename(f"model.layers.{{n}}.self_attn.{theirs}_proj.*", f"blocks.{{n}}.attention.{ours}.*")
    for theirs, ours in (("q", "q"), ("k", "k"), ("v", "v"), ("o", "out"))
)
FEED_FORWARD = tuple(
    Rename(f"model.layers.{{n}}.mlp.{theirs}_proj.*", f"blocks.{{n}}.feed_forward.{ours}.*")
    for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
)
NORMS = (
    Rename("model.layers.{n}.input_layernorm.*", "blocks.{n}.attention_norm.*"),
    Rename("model.layers.{n}.post_attention_layernorm.*", "blocks.{n}.feed_forward_norm.*"),
)

LLAMA = Family(
    name="llama",
    architecture="LlamaForCausalLM",
    keys=(
        *SIZES_BUT_CONTEXT,
        Key("max_position_embeddings", "context", 2048),
        *HEADS,
        USUAL_SCALE,
        BIASES,
        *GATED,
        Key("mlp_bias", "feed_forward.bias", False),
        *RMS_NORM,
        UNTIED,
        Rope(),
    ),
    weights=(*EMBEDDINGS, *ATTENTION, *FEED_FORWARD, *NORMS),
    known=("max_sequence_length",),  # of Llama 1, beside or in place of max_position_embeddings
)
