"""Keys of any config.json that say nothing of what a network computes: of its training, its tokens, its files."""

# fmt: off
_GENERATION = (
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id",
    "length_penalty", "max_length", "max_new_tokens", "min_length", "no_repeat_ngram_size", "num_beam_groups",
    "num_beams", "num_return_sequences", "output_scores", "remove_invalid_values", "repetition_penalty",
    "return_dict_in_generate", "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
)
"""How text is generated, which transformers wrote there before it had generation_config.json for them."""

KNOWN = frozenset((
    "_attn_implementation", "_attn_implementation_autoset", "_flash_attn_2_enabled", "_name_or_path",
    "architectures", "attention_dropout", "attn_implementation",
    "auto_map", "bos_token_id", "cache_implementation", "chunk_size_feed_forward",
    "decoder_start_token_id", "dtype", "eos_token_id", "finetuning_task", "gradient_checkpointing",
    "ignore_keys_at_rope_validation", "id2label", "initializer_range", "is_decoder",
    "is_llama_config",  # nanotron's, as in SmolLM 2
    "label2id", "model_type", "output_attentions", "output_hidden_states", "output_router_logits",
    "pad_token_id", "pretraining_tp", "problem_type", "return_dict", "router_aux_loss_coef",
    "router_jitter_noise", "sep_token_id", "tokenizer_class", "torch_dtype", "transformers.js_config",
    "transformers_version", "unsloth_fixed", "unsloth_version", "use_cache", *_GENERATION,
))
# fmt: on
