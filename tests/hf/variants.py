"""Tiny configs of every family of transformers: its own, and others that differ in what changes the logits."""

from typing import Any

V, T = 64, 64  # tokens of the vocabulary and of the context
ROW = 40  # tokens of a row: past every window, and past every original context
Json = dict[str, Any]

SIZES: Json = {
    "vocab_size": V,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": T,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
OWN: dict[str, Json] = {  # beside SIZES; None takes one of those away
    "gpt2": {"n_positions": T, "n_embd": 32, "n_layer": 2, "n_head": 4, **dict.fromkeys(list(SIZES)[1:-3])},
    "mistral": {"sliding_window": 8},
    "mixtral": {"num_local_experts": 4, "sliding_window": None},
    "qwen2": {"num_hidden_layers": 4, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2},
    "qwen3": {"head_dim": 12},
    "qwen3_moe": {"head_dim": 12, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "gemma2": {"num_hidden_layers": 4, "head_dim": 12, "query_pre_attn_scalar": 5, "sliding_window": 6},
    "gemma3_text": {"num_hidden_layers": 6, "head_dim": 12, "query_pre_attn_scalar": 5, "sliding_window": 6},
    "olmo3": {"num_hidden_layers": 4, "sliding_window": 8},
    "smollm3": {"num_hidden_layers": 4},
    "gpt_neox": {"num_key_value_heads": None},
    "stablelm": {"hidden_size": 64},
    "deepseek_v3": {
        "num_hidden_layers": 3,
        "num_key_value_heads": 4,
        "moe_intermediate_size": 16,
        "n_shared_experts": 1,
        "n_routed_experts": 8,
        "kv_lora_rank": 16,
        "q_lora_rank": 24,
        "qk_rope_head_dim": 8,
        "v_head_dim": 10,
        "qk_nope_head_dim": 6,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "first_k_dense_replace": 1,
    },
    "gpt_oss": {"head_dim": 12, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6},
}  # fmt: skip


def rope(kind: str, **options: Any) -> Json:
    """Rope parameters of some type."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 100.0, **options}}


LINEAR = rope("linear", factor=4.0)
LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=12)
YARN = rope("yarn", factor=4.0, original_max_position_embeddings=16)
LONG = rope("longrope", short_factor=[1.0, 1.5, 1.2], long_factor=[2.0, 4.0, 3.0])
SCALED = rope("yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=0.7)
BY_TYPE = {
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "rope_theta": 100.0, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    }
}
FULL, SLIDING = "full_attention", "sliding_attention"

VARIANTS: dict[str, tuple[str, Json]] = {
    "gpt2 untied, relu, of its own width": (
        "gpt2",
        {"tie_word_embeddings": False, "activation_function": "relu", "n_inner": 40},
    ),
    "gpt2, exact gelu": ("gpt2", {"activation_function": "gelu", "layer_norm_epsilon": 1e-3}),
    "llama of Llama 3.2": ("llama", {**LLAMA3, "tie_word_embeddings": True}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-3}),
    "llama with heads of their own width": ("llama", {"head_dim": 12, **LINEAR}),
    "llama with one head of keys": ("llama", {"num_key_value_heads": 1, **YARN}),
    "llama with as many heads of keys": (
        "llama",
        {
            "num_key_value_heads": 4,
            **rope(
                "yarn",
                factor=4.0,
                beta_fast=16.0,
                beta_slow=2.0,
                attention_factor=1.3,
                original_max_position_embeddings=16,
            ),
        },
    ),
    "mistral without a window": ("mistral", {"sliding_window": None, "tie_word_embeddings": True}),
    "mistral of Nemo": ("mistral", {"sliding_window": None, "head_dim": 12, **rope("default")}),
    "mixtral with a window": ("mixtral", {"sliding_window": 7, "num_experts_per_tok": 3}),
    "qwen2 of Qwen 2.5": (
        "qwen2",
        {"use_sliding_window": False, "sliding_window": None, "tie_word_embeddings": True, **YARN},
    ),
    "qwen2 with listed windows": ("qwen2", {"layer_types": [SLIDING, FULL, FULL, SLIDING]}),
    "qwen3 with windows and biases": (
        "qwen3",
        {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1, "attention_bias": True},
    ),
    "qwen3 with yarn": ("qwen3", {"tie_word_embeddings": True, **YARN}),
    "qwen3_moe with dense layers": (
        "qwen3_moe",
        {"num_hidden_layers": 4, "mlp_only_layers": [1], "decoder_sparse_step": 2, "norm_topk_prob": True},
    ),
    "qwen3_moe with a window": (
        "qwen3_moe",
        {"use_sliding_window": True, "sliding_window": 8, "norm_topk_prob": True, "attention_bias": True},
    ),
    "gemma2 without caps": (
        "gemma2",
        {"attn_logit_softcapping": None, "final_logit_softcapping": None, "query_pre_attn_scalar": 12},
    ),
    "gemma2 with caps that matter": (
        "gemma2",
        {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5, "attention_bias": True},
    ),
    "gemma3_text with scaled positions": ("gemma3_text", {**BY_TYPE, "final_logit_softcapping": 2.0}),
    "gemma3_text with listed windows": (
        "gemma3_text",
        {"layer_types": [FULL, SLIDING] * 3, "tie_word_embeddings": False},
    ),
    "olmo2 with biases": ("olmo2", {"attention_bias": True, "tie_word_embeddings": True, **rope("default")}),
    "olmo3 by turns": ("olmo3", {"layer_types": [SLIDING, FULL, SLIDING, FULL]}),
    "smollm3 with windows": (
        "smollm3",
        {"use_sliding_window": True, "sliding_window": 8, "tie_word_embeddings": False, "mlp_bias": True},
    ),
    "smollm3 without layers of no position": ("smollm3", {"no_rope_layers": [1, 1, 1, 1], **YARN}),
    "smollm3 with others": ("smollm3", {"no_rope_layer_interval": 2, "attention_bias": True}),
    "phi3 of 128k": ("phi3", {"original_max_position_embeddings": 16, "partial_rotary_factor": 0.75, **LONG}),
    "phi3 with a window": ("phi3", {"sliding_window": 9, "tie_word_embeddings": True}),
    "phi3 of Phi 4 mini, half rotated": ("phi3", {"partial_rotary_factor": 0.5, **rope("default")}),
    "gpt_neox in sequence": (
        "gpt_neox",
        {"use_parallel_residual": False, "attention_bias": False, "hidden_act": "gelu_new"},
    ),
    "gpt_neox rotated whole": ("gpt_neox", {"rotary_pct": 1.0, **LINEAR, "tie_word_embeddings": True}),
    "gpt_neox rotated by half": ("gpt_neox", {"rotary_pct": 0.5}),
    "stablelm of StableLM 2 12B": ("stablelm", {"qk_layernorm": True, "use_parallel_residual": True}),
    "stablelm with norms of another epsilon": ("stablelm", {"qk_layernorm": True, "layer_norm_eps": 0.1}),
    "stablelm of StableLM 2 1.6B": (
        "stablelm",
        {"use_qkv_bias": True, "partial_rotary_factor": 0.5, "num_key_value_heads": 4},
    ),
    "deepseek_v3 of Moonlight": (
        "deepseek_v3",
        {
            "q_lora_rank": None,
            "n_group": 1,
            "n_shared_experts": 2,
            "num_experts_per_tok": 3,
            "routed_scaling_factor": 2.446,
        },
    ),
    "deepseek_v3 with yarn": ("deepseek_v3", {"num_hidden_layers": 2, "attention_bias": True, **SCALED}),
    "deepseek_v3 with weights equal": (
        "deepseek_v3",
        {
            "norm_topk_prob": False,
            "topk_group": 2,
            **rope("yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=1.0),
        },
    ),
    "deepseek_v3 all dense": ("deepseek_v3", {"first_k_dense_replace": 3}),
    "gpt_oss of its own windows": (
        "gpt_oss",
        {
            "layer_types": [FULL, SLIDING],
            "num_experts_per_tok": 3,
            **rope(
                "yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=32.0, beta_slow=1.0, truncate=False
            ),
        },
    ),
}
"""By what they are: the family, and what they have beside the defaults."""

FAMILIES = (
    "gpt2", "llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "olmo2", "olmo3",
    "smollm3", "phi3", "gpt_neox", "stablelm", "deepseek_v3", "gpt_oss",
)  # fmt: skip
PEERS: dict[str, tuple[str, Json]] = {name: (name, {}) for name in FAMILIES} | VARIANTS
