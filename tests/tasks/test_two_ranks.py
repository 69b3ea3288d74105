"""Tasks after pretraining learn on two ranks, or in two micro-batches, what they learn at once on one; pretraining is
tested in `test_task`.
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lmkit.checkpoints import read
from tests.conftest import RECIPES, WORDS
from tests.tasks.conftest import QUICK, SIZES, write_rows, write_start

RUNS = {
    "sft": ("prompt", "completion"),
    "dpo": ("prompt", "chosen", "rejected"),
    "kto": ("prompt", "chosen", "rejected"),
    "reward": ("prompt", "chosen", "rejected"),
    "classify": ("text", "label"),
    "distill": ("text",),
    "distill --model.top_k=4": ("text",),
}
"""Recipes with options, and the columns of the rows that each learns from."""


def written(columns):
    """The source of a run, a file in the folder that it runs in."""
    source = write_rows(Path("rows.jsonl"), *columns)
    if "label" not in columns:
        return source
    lines = [f'{{"text": "the {WORDS[n % 7]} {n} sat", "label": "{WORDS[n % 3]}"}}' for n in range(40)]
    source.write_text("\n".join(lines))
    return source


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "columns"), RUNS.items(), ids=RUNS)
def test_two_ranks_and_two_micro_batches_learn_as_one(run, tmp_path, recipe, columns):
    """Beside a head of its own, which the network here has, and some tasks do not read."""
    start, (name, *options) = write_start(tmp_path / "start.ckpt", tied=False), recipe.split()
    command = ["fit", "-c", RECIPES / f"{name}.yaml", *QUICK, f"--data.source={written(columns)}", *options]
    if name == "distill":
        sizes = [f"--model.network.{size}={number}" for size, number in SIZES.items()]
        command += [f"--model.teacher={start}", *sizes, "--model.network.tied=false"]
    else:
        command += [f"--model.init_from={start}"]
    command += ["--trainer.precision=64-true"]
    code, _, errors = run(*command, "--name=one")
    assert code == 0, errors
    two = [*map(str, command), "--name=two", "--trainer.devices=2", "--trainer.strategy=ddp"]
    apart = {**os.environ, "LMKIT_CACHE": str(tmp_path / "cache")}  # in which nothing is kept of the run on one
    main = [sys.executable, "-m", "lmkit.cli.main"]
    done = subprocess.run([*main, *two], capture_output=True, text=True, timeout=300, env=apart)
    assert done.returncode == 0, done.stderr
    assert_alike("one", "two")
    if name == "kto":  # whose reference point is that of a micro-batch
        return
    split = ["--name=split", "--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=6"]
    code, _, errors = run(*command, *split)
    assert code == 0, errors
    assert_alike("one", "split")


def assert_alike(one, other):
    """All that two runs have logged, but for times, and what they have learned."""
    kept = [Path(f"runs/{name}/version_0") for name in (one, other)]
    logged, again = map(figures, kept)
    assert logged.keys() == again.keys()
    for name, values in logged.items():
        assert again[name] == pytest.approx(values, rel=1e-5, abs=1e-7), name
    states = [read(folder / "checkpoints/last.ckpt")["state_dict"] for folder in kept]
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(
            states[1][name], tensor, rtol=0, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}"
        )


def figures(folder):
    """What a run has logged, by name and step."""
    with (folder / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    return {
        name: {line["step"]: float(line[name]) for line in lines if line[name]}
        for name in lines[0]
        if name.startswith(("train/", "val/"))
    }
