"""Adapters beside an exported base: peft makes of the files what the network computes, family by family."""

from types import SimpleNamespace

import pytest
import torch
import transformers
from peft import PeftModel

from lmkit.hf.adapters import write_adapter
from lmkit.hf.model import Model
from lmkit.hf.weights import Ties
from lmkit.transforms import DoRA, Freeze, LoRA
from lmkit.transforms.merging import base_state, merged_state

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
ATTENTION = ["blocks.*.attention.q", "blocks.*.attention.v"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders of transformers with random weights, each made once."""
    made = {}

    def base(family):
        if family not in made:
            name, options = PEERS[family]
            torch.manual_seed(0)
            config = getattr(transformers, f"{name}Config")(**options)
            peer = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            with torch.no_grad():
                for parameter in peer.parameters():
                    parameter.normal_(std=0.2)
            made[family] = tmp_path_factory.mktemp(family)
            peer.save_pretrained(made[family])
        return made[family]

    return base


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


def with_peft(base, adapter):
    peer = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(peer, adapter).eval()


def apart(network, peer):
    tokens = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network.logits(network(tokens))
        assert expected.std() > 0.1
        return (peer(tokens).logits - expected).abs().max().item()


CASES = [
    *[(family, LoRA(rank=3, alpha=7.0)) for family in PEERS],
    *[(family, LoRA(rank=3, alpha=7.0, rslora=True, targets=ATTENTION)) for family in ("llama", "gpt2", "gpt_neox")],
    *[(family, DoRA(rank=3, alpha=7.0, targets=["*.attention.[qv]", "*.attention.out"])) for family in PEERS],
    ("phi3", DoRA(rank=3, alpha=7.0, rslora=True)),
    ("gpt2", LoRA(rank=4, targets=["blocks.1.attention.out", "blocks.0.attention.q", "*.1.attention.[kq]"])),
    ("deepseek_v3", LoRA(rank=4, targets=["*.k_rope", "blocks.0.feed_forward.up", "*.shared.expert.out"])),
]


@pytest.mark.filterwarnings("error::UserWarning", "error::RuntimeWarning")
@pytest.mark.parametrize(("family", "transform"), CASES)
def test_peft_beside_the_exported_base_computes_what_the_network_does(family, transform, bases, tmp_path):
    ours = imported(bases(family), transform)
    write_adapter(tmp_path, ours.network.state_dict(), [transform], ours.rules)
    peer = with_peft(bases(family), tmp_path)
    assert apart(ours.network, peer) < 1e-5
    plain = ours.model.build().eval()
    merged = merged_state(ours.network.state_dict(), [Freeze(["*"]), transform])
    plain.load_state_dict(merged)
    alone = peer.merge_and_unload()
    assert apart(plain, alone) < 1e-5
    assert apart(ours.network, alone) < 1e-5
    theirs = alone.state_dict()
    for name, tensor in Ties(ours.model.family, ours.model.anatomy, merged).write(merged):
        if name in theirs:  # experts are elsewhere once they are loaded
            torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=1e-5)
