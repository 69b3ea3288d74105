"""Llama, in whose files numbers that are rotated together lie side by side, and what others have in common with it."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.entries import Number, Told
from lmkit.hf.gguf.rope import LLAMA3, LONG, WITHOUT_TENSORS, Rope
from lmkit.hf.tables.keys import Is, Key
from lmkit.hf.tables.rules import Rename, Transpose

SIZES = (
    Key("vocab_size", "vocab_size"),
    Key("context_length", "context"),
    Key("embedding_length", "dim"),
    Key("block_count", "depth"),
    Key("attention.head_count", "heads"),
)
HEADS = (
    Is("attention", "SelfAttention"),
    Key("attention.head_count_kv", "attention.kv_heads"),
    Key("attention.key_length", "attention.head_dim"),
    Key("attention.value_length", "attention.head_dim"),
    Is("attention.scale", lambda anatomy: anatomy.layers[0]["attention.head_dim"] ** -0.5),
)
EQUAL_HEADS = Is("attention.head_dim", lambda anatomy: anatomy.whole["dim"] // anatomy.whole["heads"])
"""Where llama.cpp takes heads for parts of the stream's width."""
BIASES = Told("attention.bias")
NO_OUT_BIAS = Is("attention.out_bias", False)
GATED = (
    Is("feed_forward", "Gated"),
    Key("feed_forward_length", "feed_forward.hidden"),
    Is("feed_forward.activation", "SiLU"),
)
MIXTURE = (
    Is("feed_forward", "MixtureOfExperts"),
    Is("feed_forward.router", "SoftmaxRouter"),
    Key("expert_count", "feed_forward.experts"),
    Key("expert_used_count", "feed_forward.active"),
    Key("feed_forward_length", "feed_forward.hidden"),
    Is("feed_forward.activation", "SiLU"),
)
RMS_NORM = (Is("norm", "RMSNorm"), Number("attention.layer_norm_rms_epsilon", "norm.eps"))
LAYER_NORM = (Is("norm", "LayerNorm"), Number("attention.layer_norm_epsilon", "norm.eps"))
TIED = Told("tied")

EMBEDDINGS = (
    Rename("token_embd.weight", "embedding.weight"),
    Rename("output_norm.*", "norm.*"),
    Rename("output.weight", "head.weight"),
)
NORMS = (
    Rename("blk.{n}.attn_norm.*", "blocks.{n}.attention_norm.*"),
    Rename("blk.{n}.ffn_norm.*", "blocks.{n}.feed_forward_norm.*"),
)
OUT = Rename("blk.{n}.attn_output.*", "blocks.{n}.attention.out.*")
ATTENTION = (*(Rename(f"blk.{{n}}.attn_{name}.*", f"blocks.{{n}}.attention.{name}.*") for name in ("q", "k", "v")), OUT)
SIDE_BY_SIDE = (
    *(
        Transpose(
            f"blk.{{n}}.attn_{name}.*", f"blocks.{{n}}.attention.{name}.*", rotated="attention.head_dim", heads=heads
        )
        for name, heads in (("q", "heads"), ("k", "attention.kv_heads"))
    ),
    ATTENTION[2],
    OUT,
)
QK_NORMS = tuple(
    Rename(f"blk.{{n}}.attn_{name}.weight", f"blocks.{{n}}.attention.{name}.weight") for name in ("q_norm", "k_norm")
)
FEED_FORWARD = tuple(
    Rename(f"blk.{{n}}.ffn_{theirs}.*", f"blocks.{{n}}.feed_forward.{ours}.*")
    for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
)
EXPERTS = (
    Rename("blk.{n}.ffn_gate_inp.weight", "blocks.{n}.feed_forward.router.project.weight"),
    *(
        Rename(f"blk.{{n}}.ffn_{theirs}_exps.weight", f"blocks.{{n}}.feed_forward.{ours}.weight")
        for theirs, ours in (("gate", "gate"), ("up", "up"), ("down", "out"))
    ),
)

PARTS = (*SIZES, *HEADS, BIASES, Told("attention.out_bias"), *RMS_NORM, TIED)
ROPE = Rope((*WITHOUT_TENSORS, LLAMA3, LONG))

LLAMA = Architecture(
    name="llama",
    keys=(*PARTS, *GATED, Told("feed_forward.bias"), ROPE),
    weights=(*EMBEDDINGS, *SIDE_BY_SIDE, *FEED_FORWARD, *NORMS),
)
MIXTRAL = Architecture(
    name="llama",
    keys=(*PARTS, *MIXTURE, ROPE),
    weights=(*EMBEDDINGS, *SIDE_BY_SIDE, *EXPERTS, *NORMS),
)
