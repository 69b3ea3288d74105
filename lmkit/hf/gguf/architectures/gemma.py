"""Gemma 2 and the text models of Gemma 3, whose files hold the weights of norms with the 1 added to them."""

from lmkit.hf.gguf.architecture import Architecture
from lmkit.hf.gguf.architectures.llama import (
    ATTENTION,
    BIASES,
    EMBEDDINGS,
    FEED_FORWARD,
    HEADS,
    NO_OUT_BIAS,
    SIZES,
    TIED,
)
from lmkit.hf.gguf.entries import Number, Only, Windows
from lmkit.hf.gguf.rope import Rope, RopeByWindow
from lmkit.hf.gguf.rules import PlusOne
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.keys import Is, Key


def usual_scale(largest: int) -> Is:
    """By what scores are multiplied: by the width of a head, but that of the stream in the largest one's depth."""

    def scale(anatomy: Anatomy) -> float:
        own = anatomy.whole["dim"] // anatomy.whole["heads"]
        return float((own if anatomy.whole["depth"] == largest else anatomy.layers[0]["attention.head_dim"]) ** -0.5)

    return Is("attention.scale", scale)


PARTS = (
    *SIZES,
    *HEADS[:-1],
    BIASES,
    NO_OUT_BIAS,
    Is("embedding_scale", lambda anatomy: float(anatomy.whole["dim"]) ** 0.5),
    Is("block", "SandwichNorm"),
    Is("norm", "ZeroCentredRMSNorm"),
    Number("attention.layer_norm_rms_epsilon", "norm.eps"),
    Is("feed_forward", "Gated"),
    Key("feed_forward_length", "feed_forward.hidden"),
    Is("feed_forward.activation", "GELU"),
    Is("feed_forward.activation.approximate", "tanh"),
    Windows(),
)
WEIGHTS = (
    EMBEDDINGS[0],
    PlusOne("output_norm.weight", "norm.weight"),
    *ATTENTION,
    *FEED_FORWARD,
    PlusOne("blk.{n}.attn_norm.weight", "blocks.{n}.attention_norm.weight"),
    PlusOne("blk.{n}.post_attention_norm.weight", "blocks.{n}.attention_out_norm.weight"),
    PlusOne("blk.{n}.ffn_norm.weight", "blocks.{n}.feed_forward_norm.weight"),
    PlusOne("blk.{n}.post_ffw_norm.weight", "blocks.{n}.feed_forward_out_norm.weight"),
)

GEMMA2 = Architecture(
    name="gemma2",
    keys=(
        *PARTS,
        usual_scale(largest=46),
        Is("tied", True),
        Only(
            lambda anatomy: None not in (anatomy.whole["soft_cap"], anatomy.layers[0]["attention.soft_cap"]),
            "soft_cap of logits or of scores is None, and llama.cpp's Gemma 2 has both",
        ),
        Number("attn_logit_softcapping", "attention.soft_cap"),
        Number("final_logit_softcapping", "soft_cap"),
        Rope(),
    ),
    weights=WEIGHTS,
)
GEMMA3 = Architecture(
    name="gemma3",
    keys=(
        *PARTS,
        usual_scale(largest=62),
        TIED,
        Is("attention.qk_norm", "ZeroCentredRMSNorm"),
        Number("attention.layer_norm_rms_epsilon", "attention.qk_norm.eps"),
        Key("final_logit_softcapping", "soft_cap", None),
        RopeByWindow(),
    ),
    weights=(
        *WEIGHTS,
        EMBEDDINGS[2],
        *(
            PlusOne(f"blk.{{n}}.attn_{name}.weight", f"blocks.{{n}}.attention.{name}.weight")
            for name in ("q_norm", "k_norm")
        ),
    ),
)
