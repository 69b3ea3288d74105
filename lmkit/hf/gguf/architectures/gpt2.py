"""GPT-2, whose GELU llama.cpp takes from a table in float16 of its tanh form."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import EMBEDDINGS, EQUAL_HEADS, HEADS, LAYER_NORM, NORMS, OUT, SIZES, TIED
from lmkit.hf.gguf.entries import Told
from lmkit.hf.tables.keys import Is, Key
from lmkit.hf.tables.rules import Rename, Split

MLP = (
    Is("feed_forward", "MLP"),
    Key("feed_forward_length", "feed_forward.hidden"),
    Is("feed_forward.activation", "GELU"),
    Told("feed_forward.activation.approximate"),
    Is("feed_forward.bias", True),
)
BIASED = (Is("attention.bias", True), Is("attention.out_bias", True))
ONE_MATRIX = Split("blk.{n}.attn_qkv.*", *(f"blocks.{{n}}.attention.{name}.*" for name in ("q", "k", "v")))
UP_AND_DOWN = (
    Rename("blk.{n}.ffn_up.*", "blocks.{n}.feed_forward.up.*"),
    Rename("blk.{n}.ffn_down.*", "blocks.{n}.feed_forward.out.*"),
)

GPT2 = Architecture(
    name="gpt2",
    keys=(*SIZES, *HEADS, EQUAL_HEADS, *BIASED, *MLP, *LAYER_NORM, Is("position", "Learned"), TIED),
    weights=(
        *EMBEDDINGS,
        Rename("position_embd.weight", "position.table.weight"),
        ONE_MATRIX,
        OUT,
        *UP_AND_DOWN,
        *NORMS,
    ),
)
