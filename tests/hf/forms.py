"""Forms in which folders have been written before: configs by older keys, tensors by older names, with buffers."""

import torch

from tests.hf.variants import ROW, T


def before_rope_parameters(config):
    """`rope_theta` and `rope_scaling`, whose kind is told by "type", as before transformers 5."""
    found = config.pop("rope_parameters")
    kind = found.pop("rope_type")
    config["rope_theta"] = found.pop("rope_theta")
    if "partial_rotary_factor" in found:
        config["partial_rotary_factor"] = found.pop("partial_rotary_factor")
    config["rope_scaling"] = {"type": kind, **found} if kind != "default" else None
    return config


def without(*keys):
    """Without some keys, such as those that a config did not have before."""
    return lambda config: {key: value for key, value in config.items() if key not in keys}


def with_keys(**keys):
    """With some keys more."""
    return lambda config: config | keys


def all_of(*changes):
    """One change after another."""

    def changed(config):
        for change in changes:
            config = change(config)
        return config

    return changed


def of_gpt_neox(config):
    """`rotary_pct` and `rotary_emb_base`."""
    found = config.pop("rope_parameters")
    config.pop("partial_rotary_factor", None)
    return config | {"rotary_pct": found["partial_rotary_factor"], "rotary_emb_base": found["rope_theta"]}


def of_gemma3(config):
    """A base of its own for layers with a window, which are told by how often one has none."""
    found = config.pop("rope_parameters")
    config.pop("layer_types")
    full, sliding = found["full_attention"], found["sliding_attention"]
    scaling = {"rope_type": full["rope_type"], "factor": full["factor"]} if "factor" in full else None
    bases = {"rope_theta": full["rope_theta"], "rope_local_base_freq": sliding["rope_theta"]}
    return config | bases | {"rope_scaling": scaling, "sliding_window_pattern": 3, "cache_implementation": "hybrid"}


def of_phi3(config):
    """The original context beside the factors, as in Phi-3-mini-128k."""
    config = before_rope_parameters(config)
    original = config["rope_scaling"].pop("original_max_position_embeddings")
    return config | {"original_max_position_embeddings": original}


OF_DEEPSEEK = all_of(
    before_rope_parameters,
    without("head_dim", "qk_head_dim", "rope_interleave"),
    with_keys(
        topk_method="noaux_tc", scoring_func="sigmoid", ep_size=1, moe_layer_freq=1, aux_loss_alpha=0.001,
        seq_aux=True, num_nextn_predict_layers=0, auto_map={"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
    ),
)  # fmt: skip

CONFIGS = {
    "llama of Llama 3.2": all_of(before_rope_parameters, without("head_dim", "mlp_bias"), with_keys(pretraining_tp=1)),
    "llama with heads of their own width": before_rope_parameters,
    "llama": all_of(before_rope_parameters, without("head_dim", "attention_bias", "mlp_bias", "rope_theta")),
    "mistral": all_of(before_rope_parameters, without("head_dim", "layer_types")),
    "qwen2": all_of(before_rope_parameters, without("layer_types", "head_dim")),
    "qwen3 with yarn": all_of(before_rope_parameters, without("layer_types")),
    "gemma3_text": of_gemma3,
    "gemma3_text with scaled positions": of_gemma3,
    "gemma2": all_of(before_rope_parameters, without("layer_types"), with_keys(hidden_act="gelu_pytorch_tanh")),
    "olmo3": all_of(before_rope_parameters, without("layer_types")),
    "smollm3 with windows": all_of(before_rope_parameters, without("layer_types", "no_rope_layers")),
    "phi3 of 128k": of_phi3,
    "phi3 with a window": all_of(before_rope_parameters, with_keys(attention_bias=False)),
    "gpt_neox": of_gpt_neox,
    "gpt_neox in sequence": of_gpt_neox,
    "stablelm of StableLM 2 1.6B": before_rope_parameters,
    "deepseek_v3": OF_DEEPSEEK,
    "deepseek_v3 with yarn": OF_DEEPSEEK,
    "gpt_oss": all_of(before_rope_parameters, with_keys(initial_context_length=16, experts_per_token=2)),
    "gpt2": with_keys(n_ctx=T, summary_type="cls_index", task_specific_params={"text-generation": {}}),
}
"""By the name of a peer how its config was written."""


def bare_gpt2(tensors):
    """GPT-2's own files: no prefix, no head, and masks among the tensors."""
    found = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    for n in range(2):
        found[f"h.{n}.attn.bias"] = torch.ones(T, T).tril().view(1, 1, T, T)
        found[f"h.{n}.attn.masked_bias"] = torch.tensor(-1e4)
    return found


def with_frequencies(name):
    """With the buffers that rotations once left in files."""
    return lambda tensors: tensors | {name.format(n=n): torch.ones(4) / ROW for n in range(2)}


def with_masks(tensors):
    """With those of GPT-NeoX's attention."""
    tensors = with_frequencies("gpt_neox.layers.{n}.attention.rotary_emb.inv_freq")(tensors)
    for n in range(2):
        tensors[f"gpt_neox.layers.{n}.attention.bias"] = torch.ones(1, 1, T, T, dtype=torch.bool).tril()
        tensors[f"gpt_neox.layers.{n}.attention.masked_bias"] = torch.tensor(-1e9)
    return tensors


def head_twice(tensors):
    """With a head that is tied and stored all the same."""
    return tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}


def bare(tensors):
    """As the inner model writes itself, without the prefix."""
    return {name.removeprefix("model."): tensor for name, tensor in tensors.items()}


TENSORS = {
    "gpt2": bare_gpt2,
    "llama": with_frequencies("model.layers.{n}.self_attn.rotary_emb.inv_freq"),
    "gpt_neox": with_masks,
    "llama of Llama 3.2": head_twice,
    "qwen2 of Qwen 2.5": bare,
}
"""By the name of a peer how its tensors were written."""
