"""Checkpoints beside a base: they hold what was learned, and are put together with the base again, wherever it is."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lmkit.checkpoints import BASE, read, weights, write
from lmkit.errors import UserError
from lmkit.hf.exporting import export
from lmkit.hf.importing import import_folder
from lmkit.hf.rebuilding import rebuild
from lmkit.hf.source import Checkpoint
from lmkit.hf.start import base_of, start_from, whole_state
from lmkit.hf.writing import write_model
from lmkit.network import Network
from lmkit.registry import build
from lmkit.tasks import Pretraining
from lmkit.transforms import LoRA
from lmkit.transforms.merging import adapted, base_state, merged_state
from tests.hf.trained import NETWORK, logits, part, trained

BESIDE, DORA = part("LoRA", rank=2), part("DoRA", rank=3, targets=["*.attention.*"])
MIXTURE = part("MixtureOfExperts", experts=4, active=2, shared=1, router="SigmoidRouter")
MIXED = {**NETWORK, "init_args": {**NETWORK["init_args"], "feed_forward": MIXTURE}}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("network", [NETWORK, MIXED])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_was_learned_is_kept_and_the_rest_is_read_from_the_base(network, dtype, tmp_path):
    plain, base = trained(tmp_path / "plain", network=network)
    ours, path = trained(tmp_path / "lora", BESIDE, init_from=base, network=network, seed=2, dtype=dtype)
    held = read(path)
    own = weights(held)
    learned = {name for name, parameter in ours.named_parameters() if parameter.requires_grad}
    assert own.keys() == learned | {name for name, _ in ours.named_buffers()} & ours.state_dict().keys()
    assert held[BASE] == {
        "path": str(base.resolve()),
        "from_run": "../plain/checkpoints/last.ckpt",
        "fingerprint": start_from(tmp_path / "plain").fingerprint(),
    }
    whole = whole_state(held, path)
    assert same(whole, ours.state_dict())
    assert [*whole] == [*ours.state_dict()]
    rebuilt = rebuild(path).network
    assert same(rebuilt.state_dict(), {name: tensor.float() for name, tensor in whole.items()})
    if dtype is torch.float32:
        assert torch.equal(logits(rebuilt), logits(ours))
        assert (logits(rebuilt) - logits(plain)).abs().max() > 0.1


@pytest.mark.parametrize(
    "adapter",
    [
        part("PiSSA", rank=2, also=["*norm*"]),
        part("IA3", also=["head.*", "blocks.0.feed_forward.up.weight"]),
        part("LoRA", rank=2, rslora=True),
        part("DoRA", rank=2, targets=["*.q"], also=["embedding.*"]),
    ],
)
def test_any_method_is_rebuilt_exactly_merged_and_started_from(adapter, tmp_path):
    _, plain = trained(tmp_path / "plain")
    ours, path = trained(tmp_path / "ours", adapter, init_from=plain, seed=2)
    own = weights(read(path))
    assert {name for name, parameter in ours.named_parameters() if parameter.requires_grad} <= own.keys()
    assert own.keys().isdisjoint({"blocks.0.attention.k.base_layer.weight", "blocks.1.feed_forward.gate.weight"})
    assert len(own) < len(ours.state_dict())
    again = rebuild(path).network
    assert same(again.state_dict(), ours.state_dict())
    assert torch.equal(logits(again), logits(ours))
    further, _ = trained(tmp_path / "further", part("Freeze", names=["*"], but=["norm.*"]), init_from=path)
    with torch.no_grad():
        further.norm.weight.copy_(ours.norm.weight)
    torch.testing.assert_close(logits(further.double()), logits(ours.double()), rtol=0, atol=1e-5)
    merged = Checkpoint(path, merge=True)
    torch.testing.assert_close(logits(merged.network.double()), logits(ours), rtol=0, atol=1e-5)


def test_a_run_may_start_from_one_that_is_beside_a_base_itself(tmp_path):
    _, plain = trained(tmp_path / "plain")
    first, lora = trained(tmp_path / "lora", BESIDE, init_from=plain, seed=2)
    second, dora = trained(tmp_path / "dora", DORA, init_from=lora, seed=3)
    third, full = trained(tmp_path / "full", init_from=dora, seed=4)
    assert BASE not in read(full)
    assert len(weights(read(dora))) == 3 * 8
    merged = merged_state(first.state_dict(), Checkpoint(lora).transforms)
    assert same(base_state(second.state_dict()), merged)
    assert same(Checkpoint(dora).state, merged)
    assert same(rebuild(dora).network.state_dict(), second.state_dict())
    assert len(adapted(whole_state(read(dora), dora))) == 8
    assert (logits(third) - logits(rebuild(full).network)).abs().max() == 0


def test_it_is_found_from_any_folder_and_where_both_have_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(Path("plain"))
    network, _ = trained(Path("lora"), BESIDE, init_from="plain", seed=2)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert torch.equal(logits(rebuild(Path("../lora/checkpoints/last.ckpt")).network), logits(network))
    for name in ("lora", "plain"):
        shutil.move(tmp_path / name, name)
    assert torch.equal(logits(rebuild(Path("lora/checkpoints/last.ckpt")).network), logits(network))
    shutil.move("plain", "other")
    path = Path("lora/checkpoints/last.ckpt").resolve()
    assert base_of(read(path), path, "other").path == Path("other/checkpoints/last.ckpt")
    Path("other/checkpoints/last.ckpt").rename("kept.ckpt")
    Path("plain/checkpoints").mkdir(parents=True)
    Path("plain/checkpoints/last.ckpt").write_text("which is no checkpoint any more")
    assert base_of(read(path), path, "kept.ckpt").path == Path("kept.ckpt")
    with pytest.raises(UserError, match=r"beside .* only, which is gone, but .*plain/checkpoints/last\.ckpt"):
        base_of(read(path), path)
    os.chdir(tmp_path)


@pytest.mark.parametrize("command", [rebuild, Checkpoint, lambda path: start_from(path).tensors()])
def test_a_base_that_is_gone_or_has_changed_is_told(command, tmp_path):
    _, plain = trained(tmp_path / "plain")
    _, lora = trained(tmp_path / "lora", BESIDE, init_from=plain, seed=2)
    _, other = trained(tmp_path / "other", seed=2)
    _, last = trained(tmp_path / "last", DORA, init_from=lora, seed=3)
    held = read(plain)
    held["state_dict"]["network.norm.weight"][3] += 1e-6
    write(held, plain, "")
    said = f"{lora} holds what was learned beside {plain} only, but {plain} holds other names, shapes or numbers now"
    for path in (lora, last):
        with pytest.raises(UserError, match=said):
            command(path)
    with pytest.raises(UserError, match=said):
        base_of(read(lora), lora, str(other))
    plain.unlink()
    for path in (lora, last):
        with pytest.raises(UserError, match=f"beside {plain} only, which is gone: put it back"):
            command(path)
    with pytest.raises(UserError, match=f"but {other} holds other names"):
        base_of(read(lora), lora, str(other))


def test_a_task_takes_what_was_learned_beside_its_own_base_only_and_all_of_it(tmp_path):
    _, plain = trained(tmp_path / "plain")
    ours, lora = trained(tmp_path / "lora", BESIDE, init_from=plain, seed=2)
    trained(tmp_path / "other", seed=2)

    def task(init_from):
        made = Pretraining(build(Callable[[], Network], NETWORK), transforms=[LoRA(rank=2)], init_from=init_from)
        made.configure_model()
        return made

    held = read(lora)
    made = task(str(plain))
    made.on_load_checkpoint(held)
    made.load_state_dict(held["state_dict"])
    assert same(made.network.state_dict(), ours.state_dict())
    with pytest.raises(UserError, match=r"but no model.init_from is given: start from that base by model.init_from"):
        task(None).on_load_checkpoint(held)
    with pytest.raises(UserError, match=r"other/checkpoints/last.ckpt is another, or has changed"):
        task(str(tmp_path / "other")).on_load_checkpoint(held)
    name, tensor = next(iter(held["state_dict"].items()))
    rest = {each: value for each, value in held["state_dict"].items() if each != name}
    for state, said in (
        (rest, f"another network .it lacks {name}"),
        ({**held["state_dict"], "network.more": tensor}, "it holds network.more, which has no place"),
        ({**rest, name: tensor[:1]}, f"size mismatch for {name}"),
    ):
        with pytest.raises(UserError, match=said):
            made.load_state_dict(state)


def test_a_run_a_folder_and_what_is_imported_of_it_are_one_base(tmp_path):
    _, plain = trained(tmp_path / "plain")
    (tmp_path / "folder").mkdir()
    write_model(Checkpoint(plain), tmp_path / "folder", 1 << 30)
    import_folder(tmp_path / "folder", tmp_path / "imported")
    prints = {start_from(tmp_path / name).fingerprint() for name in ("plain", "folder", "imported")}
    assert len(prints) == 1
    _, path = trained(tmp_path / "lora", BESIDE, init_from=tmp_path / "folder", seed=2)
    shutil.rmtree(tmp_path / "folder")
    assert base_of(read(path), path, str(tmp_path / "imported")).fingerprint() in prints


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [part("PiSSA", rank=2, also=["*norm*", "head.*"]), part("IA3")])
def test_an_export_is_proved_with_what_was_learned_beside_its_base(adapter, tmp_path):
    _, plain = trained(tmp_path / "plain")
    _, path = trained(tmp_path / "ours", adapter, init_from=plain, seed=2)
    done = export(path, tmp_path / "out")
    assert done.adapter
    assert done.receipt.passed
    assert {file.name for file in (tmp_path / "out").iterdir()} > {"adapter_config.json", "base"}
