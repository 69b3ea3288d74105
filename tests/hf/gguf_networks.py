"""Tiny networks of all architectures that llama.cpp and lmkit both know, with random weights."""

from collections.abc import Callable
from typing import Any

import torch

from lmkit.hf.tables.anatomy import Anatomy, recipe_of
from lmkit.hf.tables.families import FAMILIES
from lmkit.network import Decoder
from lmkit.registry import build

SIZES = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
OLD = {"original_max_position_embeddings": 16}
SILU = SIZES | {"hidden_act": "silu"}
NEOX = {name: size for name, size in SIZES.items() if name != "num_key_value_heads"} | {"hidden_act": "gelu"}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
GEMMA = SIZES | {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8}
LATENT = {
    "kv_lora_rank": 32, "q_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1, "n_group": 4,
    "topk_group": 2, "first_k_dense_replace": 1, "routed_scaling_factor": 2.5,
}  # fmt: skip


def llama(**rope: Any) -> dict[str, Any]:
    return SILU | {"rope_parameters": {"rope_theta": 1e4, **rope}}


CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "llama", llama() | {"head_dim": 32}),
    "llama-biases": ("llama", "llama", llama() | {"attention_bias": True, "mlp_bias": True}),
    "llama-linear": ("llama", "llama", llama(rope_type="linear", factor=4.0)),
    "llama-llama3": (
        "llama",
        "llama",
        llama(rope_type="llama3", **OLD, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
        | {"tie_word_embeddings": True},
    ),
    "llama-yarn": ("llama", "llama", SILU | {"rope_parameters": YARN}),
    "llama-yarn-amplitude": ("llama", "llama", SILU | {"rope_parameters": YARN | {"attention_factor": 1.5}}),
    "llama-longrope": (
        "llama",
        "llama",
        llama(rope_type="longrope", **OLD, short_factor=[1.0, 1.1] * 4, long_factor=[1.0, 1.5, 2.0, 3.0] * 2),
    ),
    "mistral": ("mistral", "llama", SILU | {"sliding_window": None}),
    "mixtral": ("mixtral", "llama", SILU | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}),
    "qwen2": ("qwen2", "qwen2", SILU),
    "qwen3": ("qwen3", "qwen3", SILU | {"head_dim": 32, "rope_parameters": YARN}),
    "qwen3_moe": (
        "qwen3_moe",
        "qwen3moe",
        SILU | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": True},
    ),
    "gpt2": ("gpt2", "gpt2", {"vocab_size": 96, "n_positions": 64, "n_embd": 64, "n_layer": 4, "n_head": 4}),
    "gemma2": ("gemma2", "gemma2", GEMMA | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}),
    "gemma3": (
        "gemma3_text",
        "gemma3",
        GEMMA
        | {
            "num_hidden_layers": 6,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 4.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "gemma3-untied": ("gemma3_text", "gemma3", GEMMA | {"tie_word_embeddings": False, "sliding_window_pattern": 2}),
    "olmo2": ("olmo2", "olmo2", SILU | {"tie_word_embeddings": True, "rope_parameters": YARN}),
    "olmo3": ("olmo3", "olmo2", SILU | {"sliding_window": 8}),
    "smollm3": ("smollm3", "smollm3", SILU),
    "phi3-longrope": (
        "phi3",
        "phi3",
        SILU
        | {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "original_max_position_embeddings": 16,
                "partial_rotary_factor": 0.5,
                "short_factor": [1.0, 1.1, 1.2, 1.3],
                "long_factor": [1.0, 1.5, 2.0, 3.0],
            }
        },
    ),
    "gpt_neox": ("gpt_neox", "gptneox", NEOX),
    "gpt_neox-in-turn": ("gpt_neox", "gptneox", NEOX | {"hidden_act": "gelu_new", "use_parallel_residual": False}),
    "stablelm": ("stablelm", "stablelm", SILU | {"use_qkv_bias": True}),
    "stablelm-parallel": ("stablelm", "stablelm", SILU | {"use_parallel_residual": True, "tie_word_embeddings": True}),
    "deepseek_v3": ("deepseek_v3", "deepseek2", SILU | LATENT),
    "deepseek_v3-yarn": (
        "deepseek_v3",
        "deepseek2",
        SILU | LATENT | {"rope_parameters": YARN | {"mscale": 0.7, "mscale_all_dim": 0.7}},
    ),
    "deepseek_v3-plain-queries": (
        "deepseek_v3",
        "deepseek2",
        SILU | LATENT | {"num_hidden_layers": 26, "q_lora_rank": None, "first_k_dense_replace": 25},
    ),
    "gpt_oss": (
        "gpt_oss",
        "gpt-oss",
        SIZES
        | {
            "head_dim": 16,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 8,
            "rope_parameters": YARN | {"truncate": True},
        },
    ),
}
"""By name the family on Hugging Face, the architecture in llama.cpp, and a config.json."""


def anatomy(name: str, **changed: Any) -> Anatomy:
    """The parts of a network of this name."""
    family, _, config = CONFIGS[name]
    return FAMILIES[family].read(config | changed)


def network(parts: Anatomy, seed: int = 0) -> Decoder:
    """A network with all its tensors random, none at 0 or 1."""
    torch.manual_seed(seed)
    made = build(Callable[[], Decoder], recipe_of(parts))()
    with torch.no_grad():
        for tensor in made.state_dict().values():
            tensor.add_(torch.randn_like(tensor) * 0.1)
    return made.eval()
