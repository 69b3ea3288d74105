"""Adapters that peft has written, beside an imported base: what they compute there they compute here."""

import json
from types import SimpleNamespace

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from lmkit.errors import UserError
from lmkit.hf.adapters import read_adapter, write_adapter
from lmkit.hf.model import Model
from lmkit.hf.weights import Ties
from lmkit.transforms import IA3, DoRA, LoRA
from lmkit.transforms.merging import adapted
from tests.hf.adapted import apart, base_of, imported


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Folders of transformers by family, each made once."""
    made = {}
    return lambda family: base_of(family, made, tmp_path_factory)


def made(base, folder, trained=True, **options):
    """A folder that peft has written, and what it computes."""
    torch.manual_seed(3)
    peer = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(task_type="CAUSAL_LM", **options)
    )
    with torch.no_grad():
        for parameter in peer.parameters():
            if parameter.requires_grad and trained:
                parameter += 0.2 * torch.randn(parameter.shape)
    peer.save_pretrained(folder)
    return peer.eval()


def read(base, folder):
    """The network of a base with an adapter that was read."""
    model = Model(base)
    network = model.build()
    model.load_into(network)
    rules = Ties(model.family, model.anatomy, network.state_dict()).rules
    found = read_adapter(folder, rules, {name: tensor.to("meta") for name, tensor in network.state_dict().items()})
    missing, unexpected = found.transform(network).load_state_dict(found.tensors, strict=False)
    assert not unexpected
    assert not [name for name in missing if ".lora_" in name]
    return SimpleNamespace(network=network.eval(), transform=found.transform, rules=rules)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("llama", {"target_modules": "all-linear", "r": 3, "lora_alpha": 7}),
        ("llama", {"target_modules": ["q_proj", "up_proj"], "use_rslora": True, "lora_dropout": 0.2}),
        ("gpt2", {"target_modules": ["c_attn", "mlp.c_proj"], "r": 4}),
        ("gpt2", {"target_modules": ["c_attn"], "use_dora": True}),
        ("phi3", {"target_modules": "all-linear", "rank_pattern": {"o_proj": 2}, "alpha_pattern": {"0.*down_proj": 5}}),
        ("gpt_neox", {"target_modules": ["query_key_value"], "use_dora": True, "rank_pattern": {"1.*": 3}}),
        ("deepseek_v3", {"target_modules": ["q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"], "use_rslora": True}),
        ("mixtral", {"target_modules": ["q_proj", "o_proj"]}),
    ],
)
def test_what_peft_has_written_computes_the_same_here(family, options, bases, tmp_path):
    peer = made(bases(family), tmp_path, **options)
    found = read(bases(family), tmp_path)
    assert apart(found.network, peer) < 1e-5
    with peer.disable_adapter():
        assert apart(found.network, peer) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt2", "phi3", "gpt_neox", "deepseek_v3"])
@pytest.mark.parametrize("targets", [["*.attention.[qv]"], ["*.attention.*"]])
def test_what_was_written_here_is_read_as_it_was(family, targets, bases, tmp_path):
    ours = imported(bases(family), transform := LoRA(rank=3, alpha=7.0, targets=targets))
    state = ours.network.state_dict()
    write_adapter(tmp_path, state, [transform], ours.rules)
    found = read(bases(family), tmp_path)
    assert (found.transform.rank, found.transform.alpha) == (3, pytest.approx(7.0))
    assert found.transform.targets == [*adapted(state)]
    again = found.network.state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())


@pytest.mark.parametrize(
    "family",
    [
        "llama",
        "gpt2",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("phi3", "gpt_neox", "deepseek_v3", "qwen2")),
    ],
)
@pytest.mark.parametrize(
    "transform",
    [
        IA3(),
        IA3(targets=["*.attention.[qv]", "blocks.0.feed_forward.out"], also=["norm.*"]),
        LoRA(rank=2, targets=["*.attention.out"], also=["*norm*", "blocks.1.*norm*"]),
        DoRA(rank=2, targets=["*.attention.out"], also=["norm.weight"]),
    ],
    ids=["IA3", "IA3 and more", "LoRA and more", "DoRA and more"],
)
def test_scales_and_what_learned_in_full_are_read_as_they_were(family, transform, bases, tmp_path):
    ours = imported(bases(family), transform)
    state = ours.network.state_dict()
    write_adapter(tmp_path, state, [transform], ours.rules)
    found = read(bases(family), tmp_path)
    assert type(found.transform) is type(transform)
    again = found.network.state_dict()
    assert state.keys() == again.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in state.items())
    learned, still = (
        {name for name, each in network.named_parameters() if each.requires_grad}
        for network in (found.network, ours.network)
    )
    assert learned >= still  # peft keeps whole modules, so that a bias may come along


@pytest.mark.parametrize(
    "options", [{}, {"target_modules": ["k_proj", "v_proj", "up_proj"], "feedforward_modules": []}]
)
def test_scales_that_peft_has_written_compute_the_same_here(options, bases, tmp_path):
    own = {"target_modules": ["q_proj", "down_proj"], "feedforward_modules": ["down_proj"], "modules_to_save": ["norm"]}
    base = AutoModelForCausalLM.from_pretrained(bases("llama"), dtype=torch.float32)
    torch.manual_seed(3)
    peer = get_peft_model(base, IA3Config(task_type="CAUSAL_LM", **own | options))
    with torch.no_grad():
        for parameter in peer.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape)
    peer.save_pretrained(tmp_path)
    assert apart(read(bases("llama"), tmp_path).network, peer.eval()) < 1e-5


def test_scales_of_what_a_matrix_takes_are_told_where_they_have_no_place(bases, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(bases("llama"), dtype=torch.float32)
    config = IA3Config(task_type="CAUSAL_LM", target_modules=["up_proj"], feedforward_modules=["up_proj"])
    get_peft_model(base, config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"up_proj by numbers of shape \(1, 32\), but .*feed_forward.up can be"):
        read(bases("llama"), tmp_path)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_one_that_was_not_trained_yet_is_kept_whole(bases, tmp_path):
    peer = made(bases("gpt2"), tmp_path, trained=False, target_modules=["c_attn"], r=4)
    found = read(bases("gpt2"), tmp_path)
    assert isinstance(found.transform, LoRA)
    assert not isinstance(found.transform, DoRA)
    parts = [*adapted(found.network.state_dict()).values()]
    assert len(parts) == 6
    assert all(part["lora_A"].shape == (4, 32) and part["lora_A"].any() for part in parts)
    assert apart(found.network, peer) < 1e-5


def configure(**changes):
    def change(folder):
        file = folder / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def reweigh(change):
    def done(folder):
        file = folder / "adapter_model.safetensors"
        save_file(change(load_file(file)), file)

    return done


A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (configure(peft_type="VERA"), r"says peft_type: 'VERA', but lmkit reads LORA .* and IA3 only"),
        (configure(peft_type="IA3"), "holds lora_A, lora_B of .*, but not ia3_l"),
        (configure(init_lora_weights="pissa"), "init_lora_weights: 'pissa', by which the base was changed too"),
        (configure(bias="all"), "says bias: 'all', which lmkit does not know: merge the adapter by peft"),
        (configure(modules_to_save=["lm_head"]), r"says modules_to_save: \['lm_head'\], of which .* nothing"),
        (configure(lora_alpha="x"), "does not say the alpha of model.layers.0.self_attn.q_proj"),
        (configure(alpha_pattern={"(": 3}), "does not say the alpha of"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "no adapter_config.json in"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "but no adapter_model.safetensors"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x" * 9), "is truncated or no safetensors"),
        (reweigh(lambda held: held | {A: held[A] * torch.inf}), "lora_A.weight in .* infinite or none"),
        (reweigh(lambda held: held | {A: held[A][:, 1:].contiguous()}), r"of shapes \[\(8, 31\), \(32, 8\)\], but the"),
        (reweigh(lambda held: {name: held[name] for name in held if name != A}), "holds lora_B of .* not lora_A and"),
        (reweigh(lambda held: {n.replace("q_proj", "c_attn"): t for n, t in held.items()}), "c_attn, which is no mat"),
        (reweigh(lambda held: held | {"lm_head.weight": torch.ones(2)}), "holds lm_head.weight, which is nothing that"),
        (reweigh(lambda held: {}), "holds no tensors"),
    ],
)
def test_what_is_no_adapter_of_the_base_is_told(damage, message, bases, tmp_path):
    made(bases("llama"), tmp_path, target_modules=["q_proj"])
    damage(tmp_path)
    with pytest.raises(UserError, match=message):
        read(bases("llama"), tmp_path)
