"""StableLM (arXiv:2402.17834): Llama with LayerNorm, and a quarter of each head rotated."""

from lmkit.hf.families.gpt_neox import LAYER_NORM
from lmkit.hf.families.llama import ATTENTION, EMBEDDINGS, FEED_FORWARD, GATED, HEADS, NORMS, SIZES, UNTIED, USUAL_SCALE
from lmkit.hf.family import Family
from lmkit.hf.keys import Cases, Is, Key, Must
from lmkit.hf.rope import Rope
from lmkit.hf.rules import Rename

STABLELM = Family(
    name="stablelm",
    architecture="StableLmForCausalLM",
    keys=(
        *SIZES,
        *HEADS,
        USUAL_SCALE,
        Key("use_qkv_bias", "attention.bias", False),
        Is("attention.out_bias", False),
        Must("qk_layernorm", False),  # whose norms are of each head by itself
        *GATED,
        *LAYER_NORM,
        Cases("use_parallel_residual", {False: {"block": "PreNorm"}, True: {"block": "Parallel"}}, False),
        UNTIED,
        Rope(share=0.25),
    ),
    weights=(
        *EMBEDDINGS,
        *ATTENTION,
        *FEED_FORWARD,
        *NORMS,
        Rename("model.layers.{n}.input_layernorm.*", "blocks.{n}.norm.*"),
    ),
    known=("hidden_dropout",),
)
