"""Heads that score texts: taken over where a run starts from one of the same task, and never lost without a word."""

import logging
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lmkit.callbacks.export import HuggingFaceExport
from lmkit.checkpoints import KEY, WRITES_TEXT, read, write
from lmkit.errors import UserError
from lmkit.hf.exporting import export
from lmkit.hf.gguf.exporting import export_gguf
from lmkit.hf.heads import check_writes
from lmkit.network import Decoder
from lmkit.tasks import SFT, Classification, RewardModel
from tests.conftest import RECIPES
from tests.tasks.conftest import SIZES, write_rows, write_start

NETWORK = partial(Decoder, *SIZES.values())


def scoring(path, task, rows, classes=None):
    """A checkpoint of a task with a head."""
    held = read(write_start(path))
    held[KEY]["recipe"]["model"]["class_path"] = f"lmkit.tasks.{task}"
    held[KEY][WRITES_TEXT] = False
    held["state_dict"]["head.weight"] = torch.randn(rows, 32, generator=torch.Generator().manual_seed(rows))
    write({**held, **({"classes": classes} if classes else {})}, path, "")
    return path


def classifying(path, classes):
    task = Classification(NETWORK, init_from=str(path))
    data = SimpleNamespace(classes=classes, vocab_size_used=40, context=64)
    task._trainer = SimpleNamespace(datamodule=data, state=SimpleNamespace(fn=None))
    return task


@pytest.fixture
def told(caplog):
    """What a task says while it is built, and whether its head is that of where it starts."""
    caplog.set_level(logging.INFO)

    def build(task, start):
        caplog.clear()
        task.configure_model()
        kept = read(start)["state_dict"]["head.weight"]
        return hasattr(task, "head") and torch.equal(task.head.weight, kept), caplog.text

    return build


def test_a_head_of_the_same_task_and_classes_is_taken_over(told, tmp_path):
    rewards = scoring(tmp_path / "rewards.ckpt", "reward_model.RewardModel", 1)
    classes = scoring(tmp_path / "classes.ckpt", "Classification", 2, ["bad", "good"])
    assert told(RewardModel(NETWORK, init_from=str(rewards)), rewards) == (True, "")
    assert told(classifying(classes, ["bad", "good"]), classes) == (True, "")
    same, said = told(classifying(classes, ["bad", "best"]), classes)
    assert not same
    assert "tells other classes apart (bad, good but bad, best here): the head is new" in said
    same, said = told(classifying(rewards, ["bad", "good"]), rewards)
    assert "has a head of RewardModel, which Classification has no use for: the head is new" in said
    _, said = told(SFT(NETWORK, init_from=str(rewards)), rewards)
    assert "has a head of RewardModel beside its network, which is left there" in said


def test_a_head_that_holds_no_numbers_is_not_taken_over(tmp_path):
    path = scoring(tmp_path / "rewards.ckpt", "reward_model.RewardModel", 1)
    held = read(path)
    held["state_dict"]["head.weight"][0, 3] = torch.inf
    write(held, path, "")
    with pytest.raises(UserError, match=r"rewards\.ckpt holds weights that are infinite or no numbers"):
        RewardModel(NETWORK, init_from=str(path)).configure_model()


def test_what_such_a_task_does_not_read_takes_no_gradient(tmp_path):
    untied, tied = partial(NETWORK, tied=False), NETWORK
    for network, frozen in ((untied, {"network.head.weight"}), (tied, set())):
        labelled = classifying(write_start(tmp_path / "start.ckpt", tied=network is tied), ["bad", "good"])
        labelled._network = network
        for task in (RewardModel(network), labelled):
            task.configure_model()
            assert {name for name, each in task.named_parameters() if not each.requires_grad} == frozen
            assert task.head.weight.requires_grad


@pytest.mark.slow
def test_a_run_goes_on_beside_a_head_that_it_does_not_read(run, start, caplog):
    write_rows(Path("pairs.jsonl"), "prompt", "chosen", "rejected")
    begin = f"--model.init_from={write_start(Path('untied.ckpt'), tied=False)}"
    command = ["fit", "-c", RECIPES / "reward.yaml", *start, begin, "--data.source=pairs.jsonl"]
    command = [option for option in command if "warmup" not in str(option)] + ["--model.schedule=Constant"]
    code, _, errors = run(*command, "--name=whole", "--trainer.max_steps=6")
    assert code == 0, errors
    assert "34,976 of the network's 45,216 parameters learn" in caplog.text
    assert run(*command, "--name=part")[0] == 0
    assert run(*command, "--name=part", "--trainer.max_steps=6", "--ckpt_path=last")[0] == 0
    one, other = (read(f"runs/{name}/version_0/checkpoints/last.ckpt")["state_dict"] for name in ("whole", "part"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(one["network.head.weight"], read("untied.ckpt")["state_dict"]["network.head.weight"])


@pytest.mark.parametrize("task", ["RewardModel", "Classification"])
def test_what_writes_no_text_is_refused_where_text_is_written_or_the_head_would_be_lost(run, tmp_path, task):
    path, base = scoring(tmp_path / "scores.ckpt", task, 2, ["a", "b"]), write_start(tmp_path / "base.ckpt")
    commands = (["chat", path], ["generate", path], ["generate", base, "--adapter", path])
    for command in (*commands, ["export", path, "out"], ["export", path, "out", "--to=gguf"]):
        code, _, errors = run(*command)
        assert code == 2, command
        (line,) = [line for line in errors.splitlines() if line.startswith("lmkit: error: ")]
        assert f"was trained by {task}, whose head gives scores and writes no text" in line
        assert "lmkit predict" in line
    assert not Path("out").exists()
    for write_out in (export, export_gguf):
        with pytest.raises(UserError, match="cannot be exported"):
            write_out(path, tmp_path / "out")


def test_no_module_that_a_checkpoint_names_for_its_task_is_imported(tmp_path, monkeypatch):
    (tmp_path / "named_by_a_checkpoint.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    held = read(scoring(tmp_path / "scores.ckpt", "RewardModel", 1))
    for name in ("RewardModel", "lmkit.tasks.RewardModel", "named_by_a_checkpoint.Task", "of_no_module_at_all.Task"):
        held[KEY]["recipe"]["model"]["class_path"] = name
        with pytest.raises(UserError, match=f"trained by {name.rpartition('.')[2]}, whose head gives scores"):
            check_writes(held[KEY], tmp_path, "be exported")
        check_writes({**held[KEY], WRITES_TEXT: True}, tmp_path, "be exported")


def test_a_run_that_would_export_a_head_is_told_before_it_starts(tmp_path):
    task, trainer = RewardModel(NETWORK), SimpleNamespace(default_root_dir=tmp_path)
    with pytest.raises(UserError, match="no place for the head of RewardModel: leave it out"):
        HuggingFaceExport().on_fit_start(trainer, task)
