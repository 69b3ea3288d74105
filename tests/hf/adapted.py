"""Bases of transformers with random weights, networks with adapters of random weights, and how far they are apart."""

from types import SimpleNamespace

import torch
import transformers

from lmkit.hf.model import Model
from lmkit.hf.weights import Ties
from lmkit.transforms.merging import base_state

V, T = 64, 24
SIZES = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 64}
LATENT = {
    **SIZES,
    **{"num_key_value_heads": 4, "moe_intermediate_size": 16, "n_shared_experts": 1, "n_routed_experts": 8},
    **{"kv_lora_rank": 16, "q_lora_rank": 24, "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_nope_head_dim": 6},
    **{"n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1, "attention_bias": True},
}
PEERS = {
    "llama": ("Llama", GROUPED),
    "gpt2": ("GPT2", {"vocab_size": V, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    "phi3": ("Phi3", {**GROUPED, "pad_token_id": 0}),
    "gpt_neox": ("GPTNeoX", {**SIZES, "max_position_embeddings": 64}),
    "deepseek_v3": ("DeepseekV3", LATENT),
    "qwen2": ("Qwen2", GROUPED),
    "mixtral": ("Mixtral", {**GROUPED, "num_local_experts": 4}),
}


def base_of(family, made, factory):
    """A folder of transformers, kept in `made` by its family."""
    if family not in made:
        name, options = PEERS[family]
        torch.manual_seed(0)
        config = getattr(transformers, f"{name}Config")(**options)
        peer = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in peer.parameters():
                parameter.normal_(std=0.2)
        made[family] = factory.mktemp(family)
        peer.save_pretrained(made[family])
    return made[family]


def adapt(network, transform):
    """An adapted network as training would leave it."""
    network = transform(network).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape)
    return network


def imported(folder, transform):
    model = Model(folder)
    network = model.build()
    model.load_into(network)
    torch.manual_seed(1)
    rules = Ties(model.family, model.anatomy, base_state(network.state_dict())).rules
    return SimpleNamespace(model=model, rules=rules, network=adapt(network, transform), transform=transform)


def apart(network, peer):
    tokens = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network.logits(network(tokens))
        assert expected.std() > 0.1
        return (peer(tokens).logits - expected).abs().max().item()
