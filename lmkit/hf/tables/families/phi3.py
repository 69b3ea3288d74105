"""Phi 3 and 4 (arXiv:2404.14219): Llama with queries, keys and values in one matrix, and gate and up in another."""

from lmkit.hf.tables.families.llama import EMBEDDINGS, GATED, HEADS, NORMS, SIZES, UNBIASED, UNTIED, USUAL_SCALE
from lmkit.hf.tables.families.mistral import WINDOW
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Is, Key, Must
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rules import Rename, Split

PHI3 = Family(
    name="phi3",
    architecture="Phi3ForCausalLM",
    keys=(
        *SIZES,
        *HEADS,
        USUAL_SCALE,
        *UNBIASED,
        WINDOW,
        *GATED,
        Is("norm", "RMSNorm"),
        Key("rms_norm_eps", "norm.eps", 1e-5),
        UNTIED,
        Must("full_attn_mod", 1),
        Must("interpolate_factor", 1),
        Rope(share=1.0, kinds=("default", "longrope"), original=4096),
    ),
    weights=(
        *EMBEDDINGS,
        *NORMS,
        Split(
            "model.layers.{n}.self_attn.qkv_proj.weight",
            *(f"blocks.{{n}}.attention.{name}.weight" for name in ("q", "k", "v")),
        ),
        Rename("model.layers.{n}.self_attn.o_proj.weight", "blocks.{n}.attention.out.weight"),
        Split(
            "model.layers.{n}.mlp.gate_up_proj.weight",
            *(f"blocks.{{n}}.feed_forward.{name}.weight" for name in ("gate", "up")),
        ),
        Rename("model.layers.{n}.mlp.down_proj.weight", "blocks.{n}.feed_forward.out.weight"),
    ),
    known=("embd_pdrop", "resid_pdrop", "original_max_position_embeddings"),
)
