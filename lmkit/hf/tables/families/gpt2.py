"""GPT-2 (Radford et al. 2019), whose matrices are stored transposed, those of queries, keys and values as one."""

from lmkit.hf.tables.families.llama import TANH, USUAL_SCALE, equal_share
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.keys import Cases, Is, Key, Must
from lmkit.hf.tables.rules import Rename, Split, Transpose

GPT2 = Family(
    name="gpt2",
    architecture="GPT2LMHeadModel",
    keys=(
        Key("vocab_size", "vocab_size"),
        Key("n_positions", "context", 1024),
        Key("n_embd", "dim"),
        Key("n_layer", "depth"),
        Key("n_head", "heads"),
        Is("attention", "SelfAttention"),
        Is("attention.kv_heads", lambda anatomy: anatomy.whole["heads"]),
        Is("attention.head_dim", equal_share),
        USUAL_SCALE,
        Is("attention.bias", True),
        Is("attention.out_bias", True),
        Is("feed_forward", "MLP"),
        Key("n_inner", "feed_forward.hidden", lambda config: 4 * config["n_embd"]),
        Cases(
            "activation_function",
            {
                "gelu_new": TANH,
                "gelu_pytorch_tanh": TANH,
                "gelu": {"feed_forward.activation": "GELU", "feed_forward.activation.approximate": "none"},
                "relu": {"feed_forward.activation": "ReLU"},
            },
            "gelu_new",
        ),
        Is("feed_forward.bias", True),
        Is("norm", "LayerNorm"),
        Key("layer_norm_epsilon", "norm.eps", 1e-5),
        Is("position", "Learned"),
        Key("tie_word_embeddings", "tied", True),
        Must("scale_attn_weights", True),
        Must("scale_attn_by_inverse_layer_idx", False),
    ),
    weights=(
        Rename("transformer.wte.weight", "embedding.weight"),
        Rename("transformer.wpe.weight", "position.table.weight"),
        Rename("transformer.ln_f.*", "norm.*"),
        Rename("lm_head.weight", "head.weight"),
        Split(
            "transformer.h.{n}.attn.c_attn.*",
            *(Transpose("", f"blocks.{{n}}.attention.{name}.*") for name in ("q", "k", "v")),
            along=-1,
        ),
        Transpose("transformer.h.{n}.attn.c_proj.*", "blocks.{n}.attention.out.*"),
        Transpose("transformer.h.{n}.mlp.c_fc.*", "blocks.{n}.feed_forward.up.*"),
        Transpose("transformer.h.{n}.mlp.c_proj.*", "blocks.{n}.feed_forward.out.*"),
        Rename("transformer.h.{n}.ln_1.*", "blocks.{n}.attention_norm.*"),
        Rename("transformer.h.{n}.ln_2.*", "blocks.{n}.feed_forward_norm.*"),
    ),
    prefix="transformer.",
    known=(
        "n_ctx",  # as n_positions, in older files
        "attn_pdrop", "embd_pdrop", "resid_pdrop", "reorder_and_upcast_attn", "task_specific_params",
        "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj",
    ),
    derived=("*.attn.bias", "*.attn.masked_bias"),
)  # fmt: skip
