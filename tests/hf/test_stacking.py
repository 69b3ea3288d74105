"""Adapters that are put onto a base when it is used: alone they are what was trained, together they add up."""

import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from lmkit import checkpoints
from lmkit.checkpoints import KEY
from lmkit.errors import UserError
from lmkit.hf.adapters import write_adapter
from lmkit.hf.exporting import export
from lmkit.hf.rebuilding import rebuild
from lmkit.hf.source import Checkpoint
from lmkit.hf.stacking import stacked
from lmkit.hf.start import FromCheckpoint
from lmkit.hf.tables.rules import Rename
from lmkit.hf.writing import write_model
from lmkit.transforms import NF4
from lmkit.transforms.merging import base_state
from tests.hf.test_beside import MIXED
from tests.hf.trained import NETWORK, TOKENIZER, V, logits, part, trained

ATTENTION = ["*.attention.[qv]"]
ONES = {
    "lora": part("LoRA", rank=2, alpha=5.0),
    "other": part("LoRA", rank=3, targets=ATTENTION, also=["*norm*"]),
    "pissa": part("PiSSA", rank=2, also=["*norm*", "head.*"]),
    "dora": part("DoRA", rank=2, targets=ATTENTION),
    "ia3": part("IA3", also=["embedding.*"]),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A base, and what was learned beside it: networks and checkpoints."""
    where = tmp_path_factory.mktemp("stacked")
    networks, paths = {}, {}
    networks["plain"], paths["plain"] = trained(where / "plain")
    for seed, (name, adapter) in enumerate(ONES.items(), 2):
        networks[name], paths[name] = trained(where / name, adapter, init_from=paths["plain"], seed=seed)
    return networks, paths


@pytest.mark.parametrize("name", ONES)
def test_one_is_what_was_trained(name, made):
    networks, paths = made
    found = rebuild(paths["plain"], adapters=[paths[name].parent.parent]).network
    assert found.state_dict().keys() == networks["plain"].state_dict().keys()
    torch.testing.assert_close(logits(found), logits(networks[name]), rtol=0, atol=1e-5)
    assert (logits(found) - logits(networks["plain"])).abs().max() > 0.1


def test_several_add_up(made):
    paths = made[1]
    base = FromCheckpoint(paths["plain"])
    plain = base.tensors()
    alone = {name: stacked(base, [paths[name]]) for name in ONES}
    for names in (("lora", "other"), ("other", "lora", "pissa"), ("dora", "lora"), ("ia3", "other", "lora")):
        found = stacked(base, [paths[name] for name in names])
        for name, tensor in found.items():
            changes = [alone[each][name] - plain[name] for each in names]
            torch.testing.assert_close(tensor, plain[name] + sum(changes), rtol=0, atol=1e-5)
    norms = [alone[name]["norm.weight"] for name in ("plain", "other", "pissa") if name in alone]
    assert not torch.equal(*norms)
    assert all(torch.equal(tensor, plain[name]) for name, tensor in base.tensors().items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("lora", "dora"), r"dora/checkpoints/last.ckpt cannot follow .*lora/checkpoints/last.ckpt, which has changed"),
        (("lora", "ia3"), "IA3 does not add up with other changes of a matrix; give it first, or alone"),
        (("ia3", "dora"), "which has changed blocks.0.attention.v.weight: DoRA does not add up"),
        (("plain",), "plain/checkpoints/last.ckpt holds a whole network and no adapter"),
        (("gone",), "no checkpoint at .*gone"),
    ],
)
def test_what_does_not_add_up_or_is_no_adapter_is_told(names, message, made):
    _, paths = made
    with pytest.raises(UserError, match=message):
        rebuild(paths["plain"], adapters=[paths.get(name, Path("gone")) for name in names])


def test_an_adapter_of_another_base_is_told(made, tmp_path):
    paths = made[1]
    _, other = trained(tmp_path / "other", seed=9)
    with pytest.raises(UserError, match=r"lora/.* was not learned beside .*other/.*, but .*plain/.* as it was then"):
        rebuild(other, adapters=[paths["lora"]])
    _, drawn = trained(tmp_path / "drawn", ONES["lora"], seed=9)
    with pytest.raises(UserError, match=r"drawn/.* was not learned beside .*plain/.*last.ckpt: give the base"):
        rebuild(paths["plain"], adapters=[drawn])
    upon, path = trained(tmp_path / "upon", ONES["dora"], init_from=paths["lora"], seed=9)
    found = rebuild(paths["lora"], adapters=[path]).network
    torch.testing.assert_close(logits(found), logits(upon), rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="was not learned beside"):
        rebuild(paths["plain"], adapters=[path])


def test_a_base_that_has_moved_is_named(tmp_path):
    _, base = trained(tmp_path / "base", network=MIXED)
    ours, path = trained(tmp_path / "ours", ONES["lora"], init_from=base, seed=2, network=MIXED)
    base.parent.parent.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=rf"lmkit generate BASE --adapter {path}"):
        rebuild(path)
    found = rebuild(tmp_path / "moved" / "checkpoints" / "last.ckpt", adapters=[path]).network
    torch.testing.assert_close(logits(found), logits(ours), rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "own code"])
def test_a_folder_of_peft_is_taken_too(family, made, tmp_path):
    networks, paths = made
    if family == "llama":
        (tmp_path / "base").mkdir()
        write_model(Checkpoint(paths["plain"]), tmp_path / "base", 1 << 30)
        config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
        torch.manual_seed(3)
        peer = get_peft_model(AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32), config)
        with torch.no_grad():
            for parameter in peer.parameters():
                if parameter.requires_grad:
                    parameter += 0.2 * torch.randn(parameter.shape)
        peer.save_pretrained(tmp_path / "adapter")
        tokens = torch.randint(V, (2, 24), generator=torch.Generator().manual_seed(4))
        expected, base = peer.eval()(tokens).logits.detach(), paths["plain"]
    else:
        gelu = part("lmkit.layers.feed_forwards.MLP", activation=part("lmkit.layers.activations.SiLU"))
        network = {**NETWORK, "init_args": {**NETWORK["init_args"], "feed_forward": gelu}}
        _, base = trained(tmp_path / "base", network=network)
        ours, path = trained(tmp_path / "ours", ONES["lora"], init_from=base, seed=2, network=network)
        state = Checkpoint(path)._weights
        rules = [Rename(f"network.{name}", name) for name in base_state(state)]
        (tmp_path / "adapter").mkdir()
        write_adapter(tmp_path / "adapter", state, Checkpoint(path).transforms, rules)
        expected = logits(ours)
    found = rebuild(base, adapters=[tmp_path / "adapter"]).network
    torch.testing.assert_close(logits(found), expected, rtol=0, atol=1e-5)
    if family == "llama":
        both = rebuild(base, adapters=[paths["lora"], tmp_path / "adapter"]).network
        assert (logits(both) - logits(found)).abs().max() > 0.1
        name = "blocks.0.attention.q.weight"
        changes = [each.state_dict()[name] - networks["plain"].state_dict()[name] for each in (found, both)]
        alone = stacked(FromCheckpoint(base), [paths["lora"]])[name] - networks["plain"].state_dict()[name]
        torch.testing.assert_close(changes[1] - changes[0], alone, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ia3", "other", "pissa"])
def test_an_export_of_ours_is_taken_too(name, made, tmp_path):
    networks, paths = made
    export(paths[name], tmp_path / "out")
    found = rebuild(paths["plain"], adapters=[tmp_path / "out"]).network
    torch.testing.assert_close(logits(found), logits(networks[name]), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("also", [None, ["embedding.*", "head.*"]])
def test_rows_for_new_tokens_are_those_that_the_run_began_with(made, tmp_path, also):
    paths = made[1]
    wide = {**NETWORK, "init_args": {**NETWORK["init_args"], "vocab_size": V + 64}}
    adapter = part("LoRA", rank=2, also=also)
    ours, path = trained(tmp_path / "wide", adapter, init_from=paths["plain"], seed=5, network=wide)
    knowing = Tokenizer.from_str(TOKENIZER)
    knowing.add_special_tokens(["<|im_start|>"])
    held = checkpoints.read(path)
    held[KEY]["tokenizer"] = knowing.to_str()
    checkpoints.write(held, path, "")
    found = rebuild(paths["plain"], adapters=[path])
    assert found.network.logits(found.network(torch.full((1, 2), V + 9))).shape == (1, 2, V + 64)
    torch.testing.assert_close(logits(found.network), logits(ours), rtol=0, atol=1e-4)
    tokens = torch.arange(V, V + 20)[None]
    torch.testing.assert_close(found.network(tokens), ours(tokens), rtol=0, atol=1e-4)
    assert found.tokenizer.token_to_id("<|im_start|>") == knowing.token_to_id("<|im_start|>")
    export(paths["ia3"], tmp_path / "ia3")
    found_ia3 = stacked(FromCheckpoint(paths["plain"]), [tmp_path / "ia3", path])["embedding.weight"]  # learned there
    assert found_ia3.shape == (V + 64, 16)
    for both in ([paths["pissa"], path], [path, paths["pissa"]]):  # one of which has learned a head of fewer rows
        state = stacked(FromCheckpoint(paths["plain"]), both)
        assert state["head.weight"].shape == (V + 64, 16)
        assert state["embedding.weight"][V:].equal(found.network.state_dict()["embedding.weight"][V:])


def test_what_was_quantized_is_restored_once(made, tmp_path):
    paths, plain = made[1], made[0]["plain"].state_dict()
    lora = part("LoRA", rank=2)
    runs = {
        name: trained(tmp_path / name, quantizer, lora, init_from=paths["plain"], seed=seed)[1]
        for seed, (name, quantizer) in enumerate({"one": part("NF4"), "two": part("NF4")}.items(), 11)
    }
    runs["other"] = trained(tmp_path / "other", part("NF4", block=32), lora, init_from=paths["plain"], seed=13)[1]
    base = FromCheckpoint(paths["plain"])
    one, two, both = (stacked(base, [runs[name] for name in names]) for names in (["one"], ["two"], ["one", "two"]))
    mixed = stacked(base, [paths["lora"], runs["one"]])
    alone = stacked(base, [paths["lora"]])
    for name in plain:
        restored = plain[name]
        if re.fullmatch(r"blocks.*\.(attention|feed_forward)\..*", name):
            restored = NF4().matrix(NF4().parts(plain[name]), torch.float32)
            assert (restored - plain[name]).abs().max() > 1e-3
        torch.testing.assert_close(both[name], one[name] + two[name] - restored, rtol=0, atol=1e-5)
        torch.testing.assert_close(mixed[name], one[name] + alone[name] - plain[name], rtol=0, atol=1e-5)
    with pytest.raises(UserError, match=r"in four bits by NF4\(block=32, double=True\), but .*one.* by NF4\(block=64"):
        stacked(base, [runs["one"], runs["other"]])
