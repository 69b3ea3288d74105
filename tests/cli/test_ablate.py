"""`lmkit ablate`: toy ablations whose runs are done in this process, and one as a user starts it."""

import contextlib
import csv
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import lmkit.callbacks.throughput
import lmkit.cli.trials
from lmkit.ablation.budget import Cost
from lmkit.ablation.folder import Folder
from lmkit.ablation.grid import grid, parse_swap
from lmkit.ablation.outcome import Run
from lmkit.ablation.plan import Plan, Planned
from lmkit.ablation.plot import draw
from lmkit.ablation.runner import Ended
from lmkit.cli.ablate import HELP, read_options
from lmkit.cli.main import main
from lmkit.cli.recipes import read_recipes
from lmkit.cli.rehearsal import Rehearsal
from lmkit.cli.study import check_same
from lmkit.cli.trials import Trials
from lmkit.errors import UserError
from lmkit.registry import load_plugins
from tests.conftest import RECIPES, ROOT

RECIPE = RECIPES / "gpt-small.yaml"
OUT = Path("runs/ablate-gpt-small")
SWAP = ["--swap", "model.network.norm=LayerNorm,RMSNorm"]

STOP = """
import os
from lightning import Callback

class Stop(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if os.environ.get("STOP") and trainer.global_step == 3:
            raise KeyboardInterrupt
"""


class Jobs:
    """Does an ablation's jobs in this process, one by one, and keeps their command lines.

    Those named in `faked` are not trained: they leave losses that only depend on arm and seed, an error (`broken`), or
    both (`late`).
    """

    def __init__(self):
        self.commands = []
        self.faked = ()
        self.broken = ()
        self.late = ()

    def __call__(self, jobs, devices, begin, end, inherited):
        assert devices == [None]
        os.fstat(inherited)
        for job in jobs:
            start, clock = begin(job), time.monotonic()
            self.commands.append(start.command)
            with start.log.open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                code = self.do(start.command)
            if code == 130:
                raise KeyboardInterrupt
            end(job, Ended(code, time.monotonic() - clock))

    def do(self, command):
        given = dict(option.split("=", 1) for option in command[3:] if "=" in option)
        if not given["--name"].startswith(tuple(self.faked)) or not self.faked:
            return main(command[3:])
        if given["--name"].startswith(tuple(self.broken)) and self.broken:
            print("lmkit: error: the loss is a banana")
            return 1
        folder = Path(given["--trainer.default_root_dir"]) / given["--name"] / "version_0"
        folder.mkdir(parents=True)
        assert not folder.parent.joinpath("ended").exists()
        value = 1.5 + int(given["--name"][0]) / 10 + int(given["--seed_everything"]) / 100
        text = f"step,val/loss,val/bits_per_byte\n{int(given['--trainer.max_steps']) - 1},{3 * value},{value}\n"
        (folder / "metrics.csv").write_text(text)
        return int(given["--name"].startswith(tuple(self.late))) if self.late else 0


@pytest.fixture
def jobs(monkeypatch):
    doer = Jobs()
    monkeypatch.setattr(lmkit.cli.trials, "run_all", doer)
    monkeypatch.setattr(lmkit.cli.trials, "draw", lambda path, _: path.touch())  # which takes as long
    monkeypatch.setattr(lmkit.callbacks.throughput, "peak_flops", lambda *_: 1e12)  # which takes a second to measure
    return doer


@pytest.fixture
def ablate(run, toy, jobs):
    """A toy ablation; gives exit code, output and errors."""
    return lambda *options: run("ablate", "--config", RECIPE, *toy, *options)


def table(name):
    with (OUT / name).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_an_ablation_reports_what_fit_reaches_by_itself(ablate, run, toy, monkeypatch):
    monkeypatch.setattr(lmkit.cli.trials, "draw", draw)
    fast = ["--trainer.enable_checkpointing=false"]
    code, out, errors = ablate(*SWAP, *fast, "--seeds=2", "--seed_everything=5", "--data.seed=7")
    assert code == 0, errors
    assert "run 4 of 4: norm=RMSNorm, seed 6 (about 0 min left)" in out
    assert "Beside the baseline, norm=LayerNorm:" in out
    assert (OUT / "plot.png").stat().st_size > 10_000
    arms, runs = table("table.csv"), table("runs.csv")
    assert [(arm["arm"], arm["parameters"], arm["steps"], arm["seeds"]) for arm in arms] == [
        ("norm=LayerNorm", "34528", "2", "2"),
        ("norm=RMSNorm", "34368", "2", "2"),
    ]
    assert float(arms[0]["tokens_per_second"]) > 0
    reached = {(r["arm"], r["seed"]): float(r["bits_per_byte"]) for r in runs}
    assert len(set(reached.values())) == 4
    assert float(arms[1]["mean"]) == pytest.approx((reached["norm=RMSNorm", "5"] + reached["norm=RMSNorm", "6"]) / 2)
    assert f"{float(arms[1]['mean']):.4f}" in out

    again = [*SWAP, *fast, "--seeds=2", "--seed_everything=5", "--data.seed=7"]
    code, out, errors = ablate(*again)
    assert code == 0, errors
    assert "4 of 4 runs are there" in out
    other = next((OUT / "runs/2-norm-RMSNorm-seed6").glob("*/config.yaml"))
    other.write_text(other.read_text().replace("seed_everything: 6", "seed_everything: 9"))
    code, _, errors = ablate(*again)
    assert code == 2
    assert f"{other.parent} is no run of this ablation (seed_everything was 9 and is 6): move it away" in errors

    alone = ["--model.network.norm=RMSNorm", "--seed_everything=6", "--data.seed=8", "--name=alone"]
    assert run("fit", "--config", RECIPE, *toy, *fast, *alone)[0] == 0
    assert final("runs/alone") == reached["norm=RMSNorm", "6"]


def final(run_folder):
    with (Path(run_folder) / "version_0/metrics.csv").open() as file:
        return float([row for row in csv.DictReader(file) if row["val/loss"]][-1]["val/bits_per_byte"])


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_number(ablate, run, toy, jobs, monkeypatch):
    jobs.faked = ["2"]
    Path("stop_once.py").write_text(STOP)
    options = ["--plugins=stop_once.py", "--trainer.callbacks=Stop", "--trainer.max_steps=4"]
    monkeypatch.setenv("STOP", "1")
    code, _, errors = ablate(*SWAP, *options, "--seeds=1")
    assert code == 130
    assert "lmkit: interrupted; the same command goes on" in errors
    monkeypatch.delenv("STOP")
    jobs.commands.clear()
    code, _, errors = ablate(*SWAP, *options, "--seeds=1", "--keep_checkpoints=false")
    assert code == 0, errors
    assert ["--ckpt_path=last" in command for command in jobs.commands] == [True, False]
    assert not list(OUT.rglob("*.ckpt"))
    assert run("fit", "--config", RECIPE, *toy, *options, "--model.network.norm=LayerNorm", "--name=whole")[0] == 0
    assert float(table("runs.csv")[0]["bits_per_byte"]) == final("runs/whole")


@pytest.mark.slow
def test_what_is_done_is_not_repeated_and_other_options_are_refused(ablate, jobs, monkeypatch):
    jobs.faked = ["1", "2"]
    assert ablate(*SWAP, "--seeds=2")[0] == 0
    runs = table("runs.csv")
    assert [run["bits_per_byte"] for run in runs] == ["1.6", "1.7", "1.61", "1.71"]
    jobs.commands.clear()
    read, locked = Folder.plan, []
    monkeypatch.setattr(Folder, "plan", lambda folder: (locked.append(folder._lock is not None), read(folder))[1])
    code, out, errors = ablate(*SWAP, "--seeds=3")
    assert code == 0, errors
    assert locked == [True]  # another ablation may add to the plan until then
    assert "4 of 6 runs are there" in out
    assert [command[-1] for command in jobs.commands] == ["--data.seed=2"] * 2
    assert table("runs.csv")[:4] == runs
    jobs.commands.clear()
    code, _, errors = ablate(*SWAP, "--seeds=3", "--data.seed=7")
    assert code == 2
    assert f"{OUT} holds another ablation (norm=LayerNorm: data.seed was 0 and is 7; norm=RMSNorm: data" in errors
    assert jobs.commands == []


def test_what_differs_from_the_ablation_of_a_folder_is_told():
    measure = {"measure": "bits per byte"}
    arms = [Planned(arm, {"a": {"b": 1}}, "f", measure, Cost(1, 2.0, 3), 4) for arm in grid([parse_swap("norm=A,B")])]
    kept = Plan("flops", 2, arms, {"lmkit": "0.1", "my_norm.py": "x"})
    check_same(kept, kept._replace(seeds=3), "out")
    check_same(kept, kept._replace(arms=[arm._replace(steps=0) for arm in arms]), "out")  # not yet decided
    other = {
        "--seeds was 2 and is 1, but may only grow": kept._replace(seeds=1),
        "--equal was flops and is steps": kept._replace(equal="steps"),
        "the arms were norm=A; norm=B and are norm=A": kept._replace(arms=arms[:1]),
        "norm=A: a.b was 1 and is 2": kept._replace(arms=[arms[0]._replace(recipe={"a": {"b": 2}}), arms[1]]),
        "norm=B: the text that it is trained on has changed": kept._replace(arms=[arms[0], arms[1]._replace(data="g")]),
        "norm=A: what it is measured on has changed": kept._replace(arms=[arms[0]._replace(measured={}), arms[1]]),
        "lmkit was 0.1 and is 0.2": kept._replace(code={"lmkit": "0.2", "my_norm.py": "x"}),
        "the plugin my_norm.py has changed": kept._replace(code={"lmkit": "0.1", "my_norm.py": "y", "other.py": "z"}),
        "norm=B: its steps were 4 and are 5": kept._replace(arms=[arms[0], arms[1]._replace(steps=5)]),
    }
    for told, plan in other.items():
        with pytest.raises(UserError, match=re.escape(f"out holds another ablation ({told})")):
            check_same(kept, plan, "out")


@pytest.mark.slow
def test_a_failed_run_is_recorded_and_tried_again(ablate, jobs):
    jobs.faked, jobs.broken = ["1", "2"], ["2"]
    code, out, errors = ablate(*SWAP, "--seeds=1")
    assert code == 1
    assert "1 of 2 runs failed, first norm=RMSNorm, seed 0: the loss is a banana" in errors
    assert "The noise between seeds is unknown" in out
    assert "- norm=RMSNorm, seed 0: the loss is a banana" in (OUT / "table.md").read_text()
    assert [line["error"] for line in table("runs.csv")] == ["", "the loss is a banana"]
    jobs.broken = []
    jobs.commands.clear()
    assert ablate(*SWAP, "--seeds=1")[0] == 0
    assert len(jobs.commands) == 1
    assert [line["error"] for line in table("runs.csv")] == ["", ""]


@pytest.mark.slow
def test_a_run_that_fails_after_its_last_validation_is_tried_again(ablate, jobs):
    jobs.faked, jobs.late = ["1", "2"], ["2"]
    for _ in range(2):
        jobs.commands.clear()
        code, _, errors = ablate(*SWAP, "--seeds=1")
        assert code == 1
        assert "1 of 2 runs failed, first norm=RMSNorm, seed 0: exit code 1" in errors
    assert len(jobs.commands) == 1
    jobs.late = []
    assert ablate(*SWAP, "--seeds=1")[0] == 0
    assert [line["error"] for line in table("runs.csv")] == ["", ""]


NORM = """
from torch import Tensor
from lmkit.layers.kinds import Norm

class AblatedNorm(Norm):
    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.5
"""


@pytest.mark.slow
def test_runs_of_a_plugin_that_was_edited_since_are_refused(ablate, jobs):
    jobs.faked = ["1", "2"]
    file = Path("ablated_norm.py")
    file.write_text(NORM)
    options = ["--plugins=ablated_norm.py", "--swap=model.network.norm=RMSNorm,AblatedNorm", "--seeds=1"]
    assert ablate(*options)[0] == 0
    file.write_text(NORM.replace("0.5", "2.0"))
    code, _, errors = ablate(*options)
    assert code == 2
    assert "holds another ablation (the plugin ablated_norm.py has changed)" in errors
    assert "--out" in errors


def test_a_plugin_that_is_edited_meanwhile_stops_the_ablation(tmp_path):
    code = iter([{"my_norm.py": "a"}, {"my_norm.py": "a"}, {"my_norm.py": "b"}])
    trials = Trials(Folder(tmp_path), [], [None], 0, False, lambda: next(code))
    planned = Planned(grid([parse_swap("norm=A,B")])[0], {"trainer": {"precision": "32-true"}}, None, {}, Cost(1, 2, 3))
    trials._fit(planned, "x", [])
    with pytest.raises(UserError, match=r"the plugin my_norm\.py has changed while the ablation ran"):
        trials._fit(planned, "x", [])


def test_the_heads_for_later_tokens_are_in_the_budget(ablate, jobs):
    jobs.faked = ["1", "2"]
    code, _, errors = ablate("--swap=model.multi_token=null,MultiToken", "--seeds=1", "--trainer.max_steps=20")
    assert code == 0, errors
    none, heads = table("table.csv")
    assert int(heads["parameters"]) > int(none["parameters"])
    assert float(heads["flops_per_token"]) > float(none["flops_per_token"])
    assert int(heads["steps"]) < int(none["steps"]) == 20


def test_a_part_that_is_swapped_in_has_its_own_defaults(ablate, jobs):
    jobs.faked = ["1", "2", "3"]
    code, _, errors = ablate("--swap=model.network.feed_forward=MLP,Gated", "--seeds=1")
    assert code == 0, errors
    plan = json.loads((OUT / "ablation.json").read_text())
    same, other = (arm["recipe"]["model"]["init_args"]["network"]["init_args"]["feed_forward"] for arm in plan["arms"])
    assert same["init_args"]["activation"]["class_path"] == "lmkit.layers.ReLUSquared"  # the recipe's
    assert other["init_args"]["activation"]["class_path"] == "lmkit.layers.SiLU"


def test_rows_of_other_lengths_are_compared_on_the_same_text(ablate, jobs):
    jobs.faked = ["1", "2"]
    code, _, errors = ablate("--swap=data.context=32,16", "--trainer.limit_val_batches=1.0", "--seeds=2")
    assert code == 0, errors
    told = "All are measured on the same validation text, but differ in data.context: longer rows"
    assert told in (OUT / "table.md").read_text()


@pytest.mark.parametrize(("taken", "goes_on"), [(3, True), (4, False), (None, False)])
def test_a_run_goes_on_from_a_checkpoint_before_its_end(tmp_path, monkeypatch, taken, goes_on):
    folder = Folder(tmp_path)
    arm = grid([parse_swap("norm=A,B")])[0]
    recipe = {"trainer": {"precision": "32-true"}, "data": {"init_args": {"seed": 3}}}
    run = Run(Planned(arm, recipe, None, {}, Cost(1, 2.0, 3), 4), 7, 2)
    checkpoint = folder.run(run.name) / "version_0/checkpoints/last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("")
    if taken is not None:
        monkeypatch.setattr(lmkit.cli.trials, "read_checkpoint", lambda path: {"global_step": taken})
    command = Trials(folder, ["--config=x"], [None], 0, False)._started(run).command
    assert ("--ckpt_path=last" in command) == checkpoint.exists() == goes_on
    assert {"--norm=A", "--seed_everything=7", "--data.seed=5", "--trainer.max_steps=4"} < set(command)


@pytest.mark.slow
def test_all_runs_have_one_precision_also_when_it_goes_on(run, toy, jobs, monkeypatch):
    jobs.faked = ["1", "2"]
    options = [option for option in toy if "precision" not in option]
    for found, seeds in (("bf16-mixed", 1), ("32-true", 2)):
        monkeypatch.setenv("LMKIT_PRECISION", found)
        code, _, errors = run("ablate", "--config", RECIPE, *options, *SWAP, f"--seeds={seeds}")
        assert code == 0, errors
    assert ["--trainer.precision=bf16-mixed" in command for command in jobs.commands] == [True] * 4


@pytest.mark.slow
def test_equal_flops_give_a_smaller_network_more_steps(ablate, jobs):
    jobs.faked = ["1", "2"]
    code, out, errors = ablate("--swap=model.network.depth=2,1", "--seeds=1", "--trainer.max_steps=5")
    assert code == 0, errors
    deep, shallow = table("table.csv")
    assert int(shallow["steps"]) == round(5 * float(deep["flops_per_token"]) / float(shallow["flops_per_token"])) == 8
    assert "| depth=1 |     22,000 |          0.144 |     8 |  1,024 | 1.471e+08 |" in out
    assert "--trainer.max_steps=8" in jobs.commands[1]


@pytest.mark.slow
def test_equal_time_is_measured(ablate, jobs, monkeypatch):
    jobs.faked = ["1", "2"]
    monkeypatch.setattr(lmkit.cli.trials, "SECONDS", 0.0)
    options = ["--swap=model.network.depth=1,4", "--seeds=1", "--trainer.max_steps=20", "--equal=time"]
    code, out, errors = ablate(*options)
    assert code == 0, errors
    assert "timing arm 2 of 2: depth=4" in out
    one, four = table("table.csv")
    scaled = 20 * float(one["seconds_per_step"]) / float(four["seconds_per_step"])
    assert int(one["steps"]) == 20
    assert int(four["steps"]) == max(1, round(scaled))  # of as little time as this either may come out the faster
    assert len(jobs.commands) == 4
    assert not list(OUT.glob("runs/timing*"))
    assert not list(OUT.glob("timing*"))
    jobs.commands.clear()
    assert ablate(*options)[0] == 0
    assert jobs.commands == []


MISTAKES = [
    ([], ["nothing to compare", "--swap model.network.norm=LayerNorm,RMSNorm"]),
    (["--swap"], ["--swap came without a value"]),
    (["--swap=model.network.norm=LayerNorm,RMSNrm"], ["norm=RMSNrm", "did you mean RMSNorm"]),
    (["--swap=model.network.nrom=LayerNorm,RMSNorm"], ["Decoder has no parameter nrom", "did you mean norm?"]),
    (["--swap=model.network.heads=4,5"], ["the arm heads=5", "heads"]),
    (["--swap=model.schedule.warmup=1,9"], ["the arm warmup=9", "9 steps of warmup"]),
    (["--swap=model.network.vocab_size=300,200"], ["vocab_size=200", "tokenizer has 300 token ids"]),
    (["--swap=model.network.norm=RMSNorm,lmkit.layers.RMSNorm"], ["have the same recipe"]),
    (["--swap=data.context=32,4096"], ["the arm context=4096", "rows of data are 4096 tokens long"]),
    (["--swap=data.batch_size=8,0"], ["the arm batch_size=0: data.batch_size is 0: give 1 or more"]),
    (["--swap=model.optimizer.lr=1e-3,-1"], ["the arm lr=-1: the optimizer cannot be made", "-1"]),
    (["--swap=data.validation_fraction=0.2,0.4"], ["fraction=0.4 are not measured alike (each has another valid"]),
    (["--swap=trainer.limit_val_batches=2,4"], ["(trainer.limit_val_batches is 2 and 4)"]),
    (["--swap=data.context=32,16"], ["(data.context is 32 and 16)", "without trainer.limit_val_batches"]),
    ([*SWAP, "--seeds=5000000000"], ["--seeds is 5000000000, but there are 4294967296 seeds"]),
    ([*SWAP, "--seeds=0"], ["--seeds is 0"]),
    ([*SWAP, "--seeds=two"], ["--seeds is two"]),
    ([*SWAP, "--equal=tokens"], ["--equal is tokens", "flops, time or steps"]),
    ([*SWAP, "--keep_checkpoints=maybe"], ["--keep_checkpoints is maybe"]),
    ([*SWAP, f"--seed_everything={2**32 - 2}"], ["seed_everything is 4294967294"]),
    ([*SWAP, "--data.source=nowhere"], ["nowhere"]),
    ([*SWAP, "--out=full"], ["full exists and holds no ablation"]),
    ([*SWAP, "--trainer.max_stepz=3"], ["lmkit: error: no option --trainer.max_stepz"]),
    ([*SWAP, "--ckpt_path=last"], ["lmkit: error: an ablation starts its runs anew"]),
    ([*SWAP, "--model.optimizer.lr=-1"], ["lmkit: error: the optimizer cannot be made"]),
]
QUICK = (0, 1, 2, 3, 7, 14, 15, 16, 20)
"""Their numbers; the others are found in the midst of what a run is made of."""


@pytest.mark.parametrize(
    ("options", "parts"),
    [pytest.param(*row, marks=() if n in QUICK else pytest.mark.slow) for n, row in enumerate(MISTAKES)],
)
def test_a_mistake_gets_one_line_before_anything_is_trained(ablate, jobs, options, parts):
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    code, _, errors = ablate(*options)
    lines = [line for line in errors.splitlines() if line.startswith("lmkit: error:")]
    assert code == 2, errors
    assert len(lines) == 1
    assert all(part in lines[0] for part in parts), lines
    assert jobs.commands == []
    assert not Path("runs").exists()


def test_a_study_whose_costs_are_not_known_leaves_no_folder(ablate, jobs, monkeypatch):
    monkeypatch.setattr(Rehearsal, "cost", lambda self: Cost(1, None, 1))
    code, _, errors = ablate(*SWAP)
    assert code == 2
    assert "give --equal time or --equal steps" in errors
    assert not Path("runs").exists()


def test_without_a_recipe_one_is_asked_for(run):
    code, _, errors = run("ablate", *SWAP)
    assert code == 2
    assert errors == "lmkit: error: no recipe is named: give one, as in --config recipes/gpt-small.yaml\n"


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"seed_everything": False}, "seed_everything is false: give the first seed"),
        ({"ckpt_path": "last"}, "leave ckpt_path out"),
        ({"name": "mine"}, "choose it by --out"),
        ({"default_root_dir": "x"}, "choose it by --out"),
        ({"fast_dev_run": 1}, "leave trainer.fast_dev_run out"),
        ({"limit_val_batches": 0}, "more than 0"),
        ({"logger": False}, "leave trainer.logger out"),
        ({}, None),
    ],
)
def test_options_that_leave_nothing_to_compare_are_refused(options, part):
    sound = {"logger": None, "fast_dev_run": False, "limit_val_batches": None, "default_root_dir": None}
    trainer = SimpleNamespace(**{key: options.get(key, value) for key, value in sound.items()})
    given = {"seed_everything": 0, "ckpt_path": None, "name": "gpt-small"}
    rehearsal = bare(trainer, **{key: options.get(key, value) for key, value in given.items()})
    with pytest.raises(UserError, match=part) if part else contextlib.nullcontext():
        rehearsal.check_measurable("gpt-small")


def bare(trainer, **options):
    """A rehearsal of options that were not parsed."""
    rehearsal = Rehearsal.__new__(Rehearsal)
    rehearsal.config = {"fit": SimpleNamespace(trainer=trainer, **options)}
    rehearsal.datamodule = SimpleNamespace()
    return rehearsal


def test_a_missing_package_is_told_before_anything_is_trained(ablate, jobs, monkeypatch):
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "scipy" else known(name, *a))
    code, _, errors = ablate(*SWAP)
    assert code == 2
    assert "lmkit ablate needs scipy: pip install 'lmkit[ablate]'" in errors
    assert jobs.commands == []


COMMANDS = [
    shlex.split(line.replace("\\\n", " "), comments=True)
    for page in ((ROOT / "README.md").read_text(), (ROOT / "docs/ablate.md").read_text(), HELP)
    for line in re.findall(r"^ *(lmkit ablate --config (?:.*\\\n)*.*)$", page, re.MULTILINE)
]


def test_the_pages_and_the_help_have_commands():
    assert len(COMMANDS) >= 6


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_a_command_of_a_page_is_one(command, monkeypatch):
    """Its grid is read, its recipe and plugins are found, and the first and last arm are built."""
    monkeypatch.chdir(ROOT)
    options = read_options(command[2:])
    arms = grid([parse_swap(swap) for swap in options.swaps])
    recipes = read_recipes(options.fit)
    load_plugins(recipes.plugins)
    assert recipes.name != "run"
    for arm in (arms[0], arms[-1]):
        Rehearsal(recipes.name, [*recipes.arguments, *arm.options], "32-true")


def test_help_shows_examples(run):
    code, out, _ = run("ablate", "--help")
    assert code == 0
    assert all(option in out for option in ("--swap", "--seeds", "--equal", "--out", "examples:"))
    assert "  ablate " in run("--help")[1]


@pytest.mark.parametrize(
    ("options", "visible", "devices"),
    [
        ({}, None, ["0", "1"]),
        ({}, "4,7", ["4", "7"]),
        ({"devices": 1}, "GPU-a,GPU-b", ["GPU-a", "GPU-b"]),
        ({"devices": 2}, None, [None]),
        ({"num_nodes": 2}, None, [None]),
        ({"accelerator": "cpu"}, None, [None]),
    ],
)
def test_each_gpu_has_a_run_at_a_time(monkeypatch, options, visible, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    trainer = SimpleNamespace(**{"devices": "auto", "accelerator": "auto", "num_nodes": 1, **options})
    assert bare(trainer).devices() == devices


@pytest.mark.slow
def test_processes_are_started_stopped_and_gone_on_with(tmp_path, toy):
    """As a user does it: Ctrl-C in the second run, then the same command again."""
    toy = [option for option in toy if "max_steps" not in option and "val_check" not in option]
    command = [sys.executable, "-m", "lmkit.cli.main", "ablate", "--config", str(RECIPE), *toy, *SWAP, "--seeds=2"]
    command += ["--trainer.max_steps=150", "--trainer.val_check_interval=10", "--out=study"]
    environment = os.environ | {"LMKIT_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    options = {
        "cwd": tmp_path,
        "env": environment,
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    first = subprocess.Popen(command, start_new_session=True, **options)
    second_run = tmp_path / "study/runs/2-norm-RMSNorm-seed0/version_0/checkpoints/last.ckpt"
    while not second_run.is_file():
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)  # SIGINT is ignored where tests run in the background
    out, _ = first.communicate()
    assert first.returncode == 130, out
    assert "the same command goes on" in out
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 0, done.stdout
    assert "1 of 4 runs are there" in done.stdout
    plan = json.loads((tmp_path / "study/ablation.json").read_text())
    assert [arm["steps"] for arm in plan["arms"]] == [150, 150]
    with (tmp_path / "study/runs/2-norm-RMSNorm-seed0/version_0/metrics.csv").open() as file:
        steps = [int(line["step"]) for line in csv.DictReader(file) if line["train/loss"]]
    assert steps == list(range(150))
