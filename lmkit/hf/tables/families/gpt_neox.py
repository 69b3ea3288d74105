"""GPT-NeoX (arXiv:2204.06745) and Pythia (arXiv:2304.01373), whose queries, keys and values lie together by heads."""

from lmkit.hf.tables.families.llama import HEADS, SIZES, TANH, UNTIED, USUAL_SCALE, equal_share
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Cases, Is, Key
from lmkit.hf.tables.rope import Rope
from lmkit.hf.tables.rules import Rename, Split

LAYER_NORM = (Is("norm", "LayerNorm"), Key("layer_norm_eps", "norm.eps", 1e-5))
PARALLEL = Cases("use_parallel_residual", {True: {"block": "ParallelTwoNorms"}, False: {"block": "PreNorm"}}, True)

GPT_NEOX = Family(
    name="gpt_neox",
    architecture="GPTNeoXForCausalLM",
    keys=(
        *SIZES,
        HEADS[0],
        Is("attention.kv_heads", lambda anatomy: anatomy.whole["heads"]),
        Is("attention.head_dim", equal_share),
        USUAL_SCALE,
        Cases(
            "attention_bias",
            {
                True: {"attention.bias": True, "attention.out_bias": True},
                False: {"attention.bias": False, "attention.out_bias": False},
            },
            True,
        ),
        Is("feed_forward", "MLP"),
        Is("feed_forward.bias", True),
        Key("intermediate_size", "feed_forward.hidden"),
        Cases(
            "hidden_act",
            {
                "gelu": {"feed_forward.activation": "GELU", "feed_forward.activation.approximate": "none"},
                "gelu_new": TANH,
                "gelu_fast": TANH,
                "gelu_pytorch_tanh": TANH,
                "relu": {"feed_forward.activation": "ReLU"},
            },
            "gelu",
        ),
        *LAYER_NORM,
        PARALLEL,
        UNTIED,
        Rope(share=0.25, base_key="rotary_emb_base", share_key="rotary_pct"),
    ),
    weights=(
        Rename("gpt_neox.embed_in.weight", "embedding.weight"),
        Rename("gpt_neox.final_layer_norm.*", "norm.*"),
        Rename("embed_out.weight", "head.weight"),
        Split(
            "gpt_neox.layers.{n}.attention.query_key_value.*",
            *(f"blocks.{{n}}.attention.{name}.*" for name in ("q", "k", "v")),
            groups="heads",
        ),
        Rename("gpt_neox.layers.{n}.attention.dense.*", "blocks.{n}.attention.out.*"),
        Rename("gpt_neox.layers.{n}.mlp.dense_h_to_4h.*", "blocks.{n}.feed_forward.up.*"),
        Rename("gpt_neox.layers.{n}.mlp.dense_4h_to_h.*", "blocks.{n}.feed_forward.out.*"),
        Rename("gpt_neox.layers.{n}.input_layernorm.*", "blocks.{n}.attention_norm.*"),
        Rename("gpt_neox.layers.{n}.post_attention_layernorm.*", "blocks.{n}.feed_forward_norm.*"),
    ),
    prefix="gpt_neox.",
    known=("classifier_dropout", "hidden_dropout"),
    derived=("*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq"),
)
