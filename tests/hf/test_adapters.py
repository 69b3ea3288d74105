"""Adapters beside an exported base: peft makes of the files what the network computes, family by family."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file

from lmkit.errors import UserError
from lmkit.hf.adapters import write_adapter
from lmkit.hf.adapters.names import shortest
from lmkit.hf.tables.rules import Rename, Split
from lmkit.hf.weights import Ties
from lmkit.layers import MixtureOfExperts
from lmkit.network import Decoder
from lmkit.transforms import IA3, Adapter, DoRA, Freeze, LoRA, PiSSA
from lmkit.transforms.merging import merged_state
from tests.hf.adapted import PEERS, T, V, adapt, apart, base_of, imported

ATTENTION = ["blocks.*.attention.q", "blocks.*.attention.v"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders of transformers by family, each made once."""
    made = {}
    return lambda family: base_of(family, made, tmp_path_factory)


def with_peft(base, adapter):
    """The base as transformers loads it, with the adapter beside it."""
    peer = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(peer, adapter).eval()


CASES = [
    ("llama", PiSSA(rank=3, iterations=None)),
    ("llama", LoRA(rank=3, also=["*norm*", "head.*"])),
    ("gpt2", IA3()),
    *[(family, LoRA(rank=3, alpha=7.0)) for family in PEERS],
    *[(family, LoRA(rank=3, alpha=7.0, rslora=True, targets=ATTENTION)) for family in ("llama", "gpt2", "gpt_neox")],
    *[(family, DoRA(rank=3, alpha=7.0, targets=["*.attention.[qv]", "*.attention.out"])) for family in PEERS],
    ("phi3", DoRA(rank=3, alpha=7.0, rslora=True)),
    ("gpt2", LoRA(rank=4, targets=["blocks.1.attention.out", "blocks.0.attention.q", "*.1.attention.[kq]"])),
    ("deepseek_v3", LoRA(rank=4, targets=["*.k_rope", "blocks.0.feed_forward.up", "*.shared.expert.out"])),
    *[(family, PiSSA(rank=3, targets=ATTENTION)) for family in ("gpt2", "phi3", "gpt_neox", "deepseek_v3")],
    *[(family, IA3()) for family in PEERS],
    *[(family, IA3(targets="all-linear", also=["*norm*"])) for family in ("llama", "gpt_neox", "phi3", "qwen2")],
    ("gpt2", LoRA(rank=3, targets=ATTENTION, also=["*.feed_forward.*", "norm.*", "position.*"])),
    ("gpt_neox", DoRA(rank=3, targets=ATTENTION, also=["embedding.*", "blocks.1.attention.out.*"])),
    ("mixtral", LoRA(rank=3, targets=ATTENTION, also=["*norm*", "head.*"])),
]


@pytest.mark.filterwarnings(
    "error::UserWarning:peft", "error::RuntimeWarning", "ignore::jsonargparse._util.JsonargparseWarning"
)
@pytest.mark.parametrize(
    ("family", "transform"), [*CASES[:6], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[6:])]
)
def test_peft_beside_the_exported_base_computes_what_the_network_does(family, transform, bases, tmp_path):
    ours = imported(bases(family), transform)
    write_adapter(tmp_path, ours.network.state_dict(), [transform], ours.rules)
    peer = with_peft(bases(family), tmp_path)
    assert apart(ours.network, peer) < 1e-5
    with peer.disable_adapter():
        assert apart(ours.network, peer) > 0.01
    plain = ours.model.build().eval()
    merged = merged_state(ours.network.state_dict(), [Freeze(["*"]), transform])
    plain.load_state_dict(merged)
    alone = peer.merge_and_unload()
    assert apart(plain, alone) < 1e-5
    assert apart(ours.network, alone) < 1e-5
    theirs = alone.state_dict()
    exported = dict(Ties(ours.model.family, ours.model.anatomy, merged).write(merged))
    for name in exported.keys() & theirs.keys():  # experts are elsewhere once they are loaded
        torch.testing.assert_close(exported[name], theirs[name], atol=1e-6, rtol=1e-5)


def written(folder):
    return json.loads((folder / "adapter_config.json").read_text()), load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        ("llama", {"targets": ATTENTION}, {"target_modules": ["q_proj", "v_proj"], "r": 16, "lora_alpha": 32}),
        ("gpt2", {"targets": ATTENTION}, {"target_modules": ["c_attn"], "r": 32, "lora_alpha": 64}),
        ("gpt2", {"targets": ["*.out"]}, {"target_modules": ["c_proj"], "fan_in_fan_out": True}),
        ("gpt2", {"targets": ["*.attention.out"]}, {"target_modules": ["attn.c_proj"], "r": 16}),
        (
            "phi3",
            {"rank": 4, "alpha": 4},
            {
                "target_modules": ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"],
                "r": 4,
                "lora_alpha": 4,
                "rank_pattern": {"gate_up_proj": 8, "qkv_proj": 12},
                "alpha_pattern": {"gate_up_proj": 8, "qkv_proj": 12},
            },
        ),
        (
            "gpt_neox",
            {"rank": 4, "alpha": 8, "rslora": True, "targets": ["blocks.0.*.k", "blocks.0.*.v", "blocks.1.*.v"]},
            {
                "target_modules": ["query_key_value"],
                "r": 8,
                "lora_alpha": 8 * 2**0.5,
                "rank_pattern": {"1.attention.query_key_value": 4},
                "alpha_pattern": {"1.attention.query_key_value": 8},
                "use_rslora": True,
            },
        ),
        (
            "deepseek_v3",
            {"dropout": 0.1},
            {
                "target_modules": ["kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "q_a_proj", "q_b_proj"],
                "target_parameters": [
                    *("mlp.down_proj.weight", "mlp.gate_proj.weight", "mlp.up_proj.weight"),
                    *(f"shared_experts.{name}_proj.weight" for name in ("down", "gate", "up")),
                ],
                "rank_pattern": {"kv_a_proj_with_mqa": 32, "kv_b_proj": 32},
                "lora_dropout": 0.0,
            },
        ),
    ],
)
def test_modules_are_named_in_few_words(family, options, expected, bases, tmp_path):
    transform = LoRA(**options)
    ours = imported(bases(family), transform)
    write_adapter(tmp_path, ours.network.state_dict(), [transform], ours.rules, base="some/base")
    config, tensors = written(tmp_path)
    usual = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "some/base", "use_dora": False}
    assert {name: config[name] for name in usual | expected} == usual | expected
    peer = with_peft(bases(family), tmp_path)
    assert {name.replace(".default", "") for name in peer.state_dict() if ".lora_" in name} == tensors.keys()


def test_ends_of_names_are_as_short_as_they_can_be():
    assert shortest(["a.0.q.p", "a.1.q.p"], ["a.0.k.p"]) == ["q.p"]
    assert shortest(["a.0.q.p"], ["a.1.q.p", "b"]) == ["0.q.p"]
    assert shortest(["a.0.q", "c.q"], ["b.a.0.qq"]) == ["q"]


class Own(transformers.PreTrainedModel, transformers.GenerationMixin):
    """A network with its own code, as transformers has it."""

    config_class = transformers.PretrainedConfig

    def __init__(self, network):
        super().__init__(transformers.PretrainedConfig())
        self.network = network

    def forward(self, input_ids=None, **_):
        return SimpleNamespace(logits=self.network.logits(self.network(input_ids)))


@pytest.mark.parametrize("kind", [LoRA, DoRA])
def test_beside_a_base_of_our_own_names(kind, tmp_path):
    mixture = partial(MixtureOfExperts, experts=4, active=2, shared=1)
    make = partial(Decoder, V, T, 32, 2, 4, feed_forward=mixture, tied=False)
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    transform = kind(rank=3)
    base = make().eval()
    base.load_state_dict(network.state_dict())
    adapt(network, transform)
    rules = [Rename(f"network.{name}", name) for name in base.state_dict()]
    write_adapter(tmp_path, network.state_dict(), [transform], rules)
    config, _ = written(tmp_path)
    assert config["target_modules"] == ["attention.out", "expert.gate", "expert.out", "expert.up", "k", "q", "v"]
    assert apart(network, PeftModel.from_pretrained(Own(base), tmp_path).eval()) < 1e-5


class Other(Adapter):
    """Of no kind that files hold."""

    def config(self, peft, targets):
        return peft.LoraConfig(target_modules=targets)

    def settle(self, layer):
        pass

    def merged(self, weight, parts):
        return weight


@pytest.mark.parametrize(
    ("family", "transform", "message"),
    [
        ("llama", Freeze(["embedding.*"]), "the network has no adapters: export it as a whole"),
        ("llama", Other(["*.q"]), "adapters of Other cannot be exported by themselves: export the network with"),
        ("gpt2", LoRA(targets=["*.q"], also=["*.k.bias"]), "h.0.attn.c_attn has an adapter and other parameters that"),
        ("gpt2", LoRA(targets=["*.q"], also=["embedding.*"]), "the embedding, which is the head too, has learned, and"),
        ("mixtral", LoRA(targets=["*.q"], also=["*router*"]), "router.* has learned, which is within a mixture, whose"),
        ("deepseek_v3", DoRA(), r"peft has no DoRA for model.layers.0.mlp.gate_proj.weight, whose name is also"),
    ],
)
def test_what_files_cannot_hold_is_told_and_not_written(family, transform, message, bases, tmp_path):
    ours = imported(bases(family), transform)
    with pytest.raises(UserError, match=message):
        write_adapter(tmp_path, ours.network.state_dict(), [transform], ours.rules)
    assert not [*tmp_path.iterdir()]


def test_rules_that_have_no_rows_of_their_own_are_told(bases, tmp_path):
    ours = imported(bases("llama"), transform := LoRA(targets=["*.q"]))
    state = ours.network.state_dict()
    q = "blocks.0.attention.q.weight"
    other = Rename("other.weight", "blocks.1.attention.q.weight")
    across = [other, Split("both.weight", q, "blocks.0.attention.out.weight", along=1)]
    with pytest.raises(UserError, match=r"both.weight of the exported base holds .* in a form that no adapter has"):
        write_adapter(tmp_path, state, [transform], across)
    with pytest.raises(UserError, match=r"blocks.1.attention.q has an adapter but no matrix of its own"):
        write_adapter(tmp_path, state, [transform], [Rename("a.weight", q)])
    with pytest.raises(UserError, match=r"blocks.0.attention.q is adapted, but the recipe has no adapter"):
        merged_state(state, [])
