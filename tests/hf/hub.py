"""What configs of published models say of the network, and how many numbers its tensors have."""

from typing import Any

Json = dict[str, Any]


def sizes(vocab: int, dim: int, hidden: int, depth: int, heads: int, kv_heads: Any, context: Any, **more: Any) -> Json:
    """The keys that nearly all have, and more."""
    usual = {
        "vocab_size": vocab,
        "hidden_size": dim,
        "intermediate_size": hidden,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": context,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "attention_dropout": 0.0,
        "transformers_version": "4.46.0",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {key: value for key, value in (usual | more).items() if value is not ...}


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
FACTORS = [1.0 + number / 8 for number in range(48)]  # of whatever value, but as many
LONG = {"type": "longrope", "short_factor": FACTORS, "long_factor": FACTORS}
PHI = {
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "attention_bias": False,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "model_type": "phi3",
    "tie_word_embeddings": False,
    "pad_token_id": 32000,
    "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
}
QWEN = {"rms_norm_eps": 1e-6, "rope_theta": 1e6, "use_sliding_window": False, "tie_word_embeddings": True}
NO_GATES = {"hidden_act": "gelu", "num_key_value_heads": ..., "attention_dropout": ...}
DEEPSEEK = {
    "model_type": "deepseek_v3",
    "attention_bias": False,
    "aux_loss_alpha": 0.001,
    "ep_size": 1,
    "kv_lora_rank": 512,
    "moe_layer_freq": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 8,
    "pretraining_tp": 1,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "scoring_func": "sigmoid",
    "seq_aux": True,
    "topk_method": "noaux_tc",
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-6,
    "auto_map": {"AutoModelForCausalLM": "modeling_deepseek.DeepseekV3ForCausalLM"},
}
YARN = {
    "type": "yarn",
    "factor": 40,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 4096,
}
FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]}
FULL, SLIDING = "full_attention", "sliding_attention"

# fmt: off
HUB: dict[str, tuple[Json, int]] = {
    "gpt2": ({"model_type": "gpt2", "vocab_size": 50257, "n_ctx": 1024, "n_positions": 1024, "n_embd": 768,
              "n_head": 12, "n_layer": 12, "activation_function": "gelu_new", "attn_pdrop": 0.1, "embd_pdrop": 0.1,
              "resid_pdrop": 0.1, "layer_norm_epsilon": 1e-5, "initializer_range": 0.02, "summary_type": "cls_index",
              "summary_proj_to_labels": True, "summary_use_proj": True, "summary_first_dropout": 0.1,
              "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}}, 124439808),
    "TinyLlama-1.1B": (sizes(32000, 2048, 5632, 22, 32, 4, 2048, model_type="llama", rms_norm_eps=1e-5,
                             rope_scaling=None, pretraining_tp=1, tie_word_embeddings=False), 1100048384),
    "Llama-3.2-1B": (sizes(128256, 2048, 8192, 16, 32, 8, 131072, model_type="llama", rms_norm_eps=1e-5, head_dim=64,
                           rope_theta=500000.0, rope_scaling=LLAMA3, attention_bias=False, mlp_bias=False,
                           tie_word_embeddings=True, pretraining_tp=1), 1235814400),
    "llama-7b": (sizes(32000, 4096, 11008, 32, 32, ..., ..., model_type="llama", rms_norm_eps=1e-6,
                       max_sequence_length=2048, pad_token_id=-1, attention_dropout=...), 6738415616),
    "SmolLM2-135M-Instruct": (sizes(49152, 576, 1536, 30, 9, 3, 8192, model_type="llama", rms_norm_eps=1e-5,
                                    is_llama_config=True, rope_interleaved=False, rope_scaling=None, rope_theta=100000,
                                    attention_bias=False, tie_word_embeddings=True, pretraining_tp=1, **{
                                    "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}}}), 134515008),
    "Mistral-7B-v0.1": (sizes(32000, 4096, 14336, 32, 32, 8, 32768, model_type="mistral", rms_norm_eps=1e-5,
                              rope_theta=10000.0, sliding_window=4096, tie_word_embeddings=False), 7241732096),
    "Mistral-7B-v0.3": (sizes(32768, 4096, 14336, 32, 32, 8, 32768, model_type="mistral", rms_norm_eps=1e-5,
                              rope_theta=1e6, sliding_window=None, tie_word_embeddings=False), 7248023552),
    "Mixtral-8x7B-v0.1": (sizes(32000, 4096, 14336, 32, 32, 8, 32768, model_type="mixtral", rms_norm_eps=1e-5,
                                rope_theta=1e6, sliding_window=None, num_local_experts=8, num_experts_per_tok=2,
                                output_router_logits=False, router_aux_loss_coef=0.02), 46702792704),
    "Qwen2.5-0.5B": (sizes(151936, 896, 4864, 24, 14, 2, 32768, model_type="qwen2", **QWEN, max_window_layers=24,
                           sliding_window=32768, use_mrope=False), 494032768),
    "Qwen3-0.6B": (sizes(151936, 1024, 3072, 28, 16, 8, 40960, model_type="qwen3", **QWEN, head_dim=128,
                         attention_bias=False, max_window_layers=28, sliding_window=None, rope_scaling=None),
                   596049920),
    "Qwen3-30B-A3B": (sizes(151936, 2048, 6144, 48, 32, 4, 40960, model_type="qwen3_moe", **QWEN | {
                            "tie_word_embeddings": False}, head_dim=128, attention_bias=False, max_window_layers=48,
                            sliding_window=None, rope_scaling=None, decoder_sparse_step=1, mlp_only_layers=[],
                            moe_intermediate_size=768, norm_topk_prob=True, num_experts=128, num_experts_per_tok=8,
                            output_router_logits=False, router_aux_loss_coef=0.001), 30532122624),
    "gemma-2-2b": (sizes(256000, 2304, 9216, 26, 8, 4, 8192, model_type="gemma2", rms_norm_eps=1e-6, head_dim=256,
                         hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rope_theta=10000.0,
                         attention_bias=False, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
                         cache_implementation="hybrid", query_pre_attn_scalar=256, sliding_window=4096,
                         pad_token_id=0), 2614341888),
    "gemma-2-9b": (sizes(256000, 3584, 14336, 42, 16, 8, 8192, model_type="gemma2", rms_norm_eps=1e-6, head_dim=256,
                         hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rope_theta=10000.0,
                         attention_bias=False, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
                         cache_implementation="hybrid", query_pre_attn_scalar=256, sliding_window=4096,
                         sliding_window_size=4096, pad_token_id=0), 9241705984),
    "gemma-3-1b-it": (sizes(262144, 1152, 6912, 26, 4, 1, 32768, model_type="gemma3_text", rms_norm_eps=1e-6,
                            head_dim=256, hidden_act=..., hidden_activation="gelu_pytorch_tanh", rope_theta=1000000,
                            rope_local_base_freq=10000, rope_scaling=None, attention_bias=False,
                            attn_logit_softcapping=None, final_logit_softcapping=None, cache_implementation="hybrid",
                            query_pre_attn_scalar=256, sliding_window=512, sliding_window_pattern=6,
                            pad_token_id=0), 999885952),
    "OLMo-2-0425-1B": (sizes(100352, 2048, 8192, 16, 16, 16, 4096, model_type="olmo2", rms_norm_eps=1e-6,
                             rope_theta=500000, rope_scaling=None, attention_bias=False, tie_word_embeddings=False,
                             pad_token_id=100277), 1484916736),
    "Olmo-3-1025-7B": (sizes(100278, 4096, 11008, 32, 32, 32, 65536, model_type="olmo3", rms_norm_eps=1e-6,
                             rope_theta=500000, attention_bias=False, tie_word_embeddings=False, sliding_window=4096,
                             layer_types=[SLIDING, SLIDING, SLIDING, FULL] * 8, pad_token_id=100277,
                             rope_scaling={"attention_factor": 1.2079441541679836, "beta_fast": 32, "beta_slow": 1,
                                           "factor": 8.0, "original_max_position_embeddings": 8192,
                                           "rope_type": "yarn"}), 7298011136),
    "SmolLM3-3B": (sizes(128256, 2048, 11008, 36, 16, 4, 65536, model_type="smollm3", rms_norm_eps=1e-6,
                         rope_theta=5000000.0, rope_scaling=None, attention_bias=False, mlp_bias=False,
                         layer_types=[FULL] * 36, max_window_layers=28, no_rope_layer_interval=4,
                         no_rope_layers=[1, 1, 1, 0] * 9, pretraining_tp=2, sliding_window=None,
                         use_sliding_window=False, pad_token_id=128004), 3075098624),
    "Phi-3-mini-4k": (sizes(32064, 3072, 8192, 32, 32, 32, 4096, **PHI, rope_scaling=None, sliding_window=2047),
                      3821079552),
    "Phi-3-mini-128k": (sizes(32064, 3072, 8192, 32, 32, 32, 131072, **PHI, rope_scaling=LONG, sliding_window=262144),
                        3821079552),
    "Phi-4-mini": (sizes(200064, 3072, 8192, 32, 24, 8, 131072, **PHI | {"tie_word_embeddings": True},
                         rope_scaling=LONG, sliding_window=262144, partial_rotary_factor=0.75, full_attn_mod=1,
                         interpolate_factor=1, lm_head_bias=False, mlp_bias=False), 3836021760),
    "pythia-160m": (sizes(50304, 768, 3072, 12, 12, 12, 2048, model_type="gpt_neox", **NO_GATES, layer_norm_eps=1e-5,
                          rotary_emb_base=10000, rotary_pct=0.25, tie_word_embeddings=False,
                          use_parallel_residual=True), 162322944),
    "stablelm-2-1_6b": (sizes(100352, 2048, 5632, 24, 32, 32, 4096, model_type="stablelm", layer_norm_eps=1e-5,
                              partial_rotary_factor=0.25, rope_theta=10000, use_qkv_bias=True,
                              tie_word_embeddings=False), 1644515328),
    "stablelm-2-12b": (sizes(100352, 5120, 13824, 40, 32, 8, 4096, model_type="stablelm", layer_norm_eps=1e-5,
                             partial_rotary_factor=0.25, rope_theta=10000, use_qkv_bias=False, qk_layernorm=True,
                             use_parallel_residual=True, hidden_dropout=0.0, tie_word_embeddings=False), 12143185920),
    "DeepSeek-V3": (sizes(129280, 7168, 18432, 61, 128, 128, 163840, **DEEPSEEK, first_k_dense_replace=3,
                          moe_intermediate_size=2048, n_group=8, n_routed_experts=256, n_shared_experts=1,
                          q_lora_rank=1536, topk_group=4, routed_scaling_factor=2.5, rope_theta=10000,
                          rope_scaling=YARN, num_nextn_predict_layers=1, quantization_config=FP8), 671026419200),
    "Moonlight-16B-A3B": (sizes(163840, 2048, 11264, 27, 16, 16, 8192, **DEEPSEEK | {
                                "num_experts_per_tok": 6, "rms_norm_eps": 1e-5}, first_k_dense_replace=1,
                                moe_intermediate_size=1408, n_group=1, n_routed_experts=64, n_shared_experts=2,
                                q_lora_rank=None, topk_group=1, routed_scaling_factor=2.446, rope_theta=50000.0,
                                rope_scaling=None, num_nextn_predict_layers=0), 15960110208),
    "gpt-oss-20b": (sizes(201088, 2880, 2880, 24, 64, 8, 131072, model_type="gpt_oss", rms_norm_eps=1e-5,
                          attention_bias=True, experts_per_token=4, num_experts_per_tok=4, num_local_experts=32,
                          head_dim=64, initial_context_length=4096, layer_types=[SLIDING, FULL] * 12,
                          output_router_logits=False, router_aux_loss_coef=0.9, sliding_window=128,
                          swiglu_limit=7.0, tie_word_embeddings=False, rope_theta=150000,
                          rope_scaling={"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
                                        "original_max_position_embeddings": 4096, "rope_type": "yarn",
                                        "truncate": False},
                          quantization_config={"modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"],
                                               "quant_method": "mxfp4"}), 20914757184),
}
# fmt: on

REFUSED: dict[str, tuple[str, Json, str]] = {
    "SmolLM2 with its numbers rotated in pairs": (
        "SmolLM2-135M-Instruct",
        {"rope_interleaved": True},
        "rope_interleaved: True",
    ),
    "Qwen2.5 of a million tokens": ("Qwen2.5-0.5B", {"dual_chunk_attention_config": {"chunk_size": 2}}, "dual_chunk"),
    "Qwen2.5-VL's rotations": ("Qwen2.5-0.5B", {"rope_scaling": {"type": "mrope", "mrope_section": [2]}}, "mrope"),
    "Phi-4-mini with a head of biases": ("Phi-4-mini", {"lm_head_bias": True}, "lm_head_bias: True"),
}
"""Models that are near those, and the word by which each is refused."""
