"""StableLM (arXiv:2402.17834): Llama with LayerNorm, and a quarter of each head rotated."""

from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.families.gpt_neox import LAYER_NORM
from lmkit.hf.tables.families.llama import (
    ATTENTION,
    EMBEDDINGS,
    FEED_FORWARD,
    GATED,
    HEADS,
    NORMS,
    SIZES,
    UNTIED,
    USUAL_SCALE,
    equal_share,
)
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Cases, Is, Key
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rules import Rename
from lmkit.hf.tables.values import Config

OWN_NORMS = {
    "attention.qk_norm": "LayerNorm",
    "attention.qk_norm.bias": False,
    "attention.qk_norm_over": "own",
}


class NormsOfHeads(Cases):
    """Norms of each head's queries and keys, or none, by the same epsilon as all others."""

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        super().read(config, anatomy)
        for layer in anatomy.layers:
            if layer["attention.qk_norm"]:
                layer["attention.qk_norm.eps"] = anatomy.whole["norm.eps"]


STABLELM = Family(
    name="stablelm",
    architecture="StableLmForCausalLM",
    keys=(
        *SIZES,
        *HEADS[:2],
        Is("attention.head_dim", equal_share),
        USUAL_SCALE,
        Key("use_qkv_bias", "attention.bias", False),
        Is("attention.out_bias", False),
        *LAYER_NORM,
        NormsOfHeads("qk_layernorm", {False: {"attention.qk_norm": None}, True: OWN_NORMS}, False),
        *GATED,
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
        *(
            Rename(
                f"model.layers.{{n}}.self_attn.{name}_layernorm.norms.{{h}}.weight",
                f"blocks.{{n}}.attention.{name}_norm.{{h}}.weight",
            )
            for name in ("q", "k")
        ),
    ),
    known=("hidden_dropout",),
)
