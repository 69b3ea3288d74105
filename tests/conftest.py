"""What all tests share: one thread, a cache of their own, toy texts and a toy size for every recipe."""

import os
import random
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # toy matrices are slower on several threads

import pytest
import torch

from lmkit.cli.main import main

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes"
WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "under",
    "mat",
    "tree",
    "and",
    "then",
    "was",
    "not",
    "very",
    "happy",
    "sad",
]


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def double():
    """A seed, and float64 for all that is made."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """A folder of forty small text files."""
    folder = tmp_path_factory.mktemp("texts")
    draw = random.Random(0)
    for number in range(40):
        lines = [" ".join(draw.choices(WORDS, k=9)) for _ in range(40)]
        (folder / f"{number}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="session")
def few(texts, tmp_path_factory):
    """Options beside `toy` of so little text that its last row, partly filled, is in every other step."""
    folder = tmp_path_factory.mktemp("few")
    for number in range(5):
        (folder / f"{number}.txt").write_text((texts / f"{number}.txt").read_text()[: 200 + number])
    return [f"--data.source={folder}", f"--data.validation_source={texts}/7.txt", "--data.vocab_size=270"]


@pytest.fixture(scope="session")
def toy(texts):
    """Options that shrink any recipe to a toy."""
    return [
        f"--data.source={texts}",
        "--data.validation_fraction=0.2",
        "--data.vocab_size=300",
        "--data.context=32",
        "--data.batch_size=4",
        "--model.network.vocab_size=300",
        "--model.network.context=64",
        "--model.network.dim=32",
        "--model.network.depth=2",
        "--model.network.heads=4",
        "--model.schedule.warmup=1",
        "--model.compile=false",
        "--trainer.max_steps=2",
        "--trainer.val_check_interval=2",
        "--trainer.accumulate_grad_batches=1",
        "--trainer.limit_val_batches=2",
        "--trainer.precision=32-true",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--trainer.log_every_n_steps=1",
    ]


@pytest.fixture
def run(tmp_path, tmp_path_factory, monkeypatch, capsys):
    """Runs `lmkit` in this process and an empty folder; gives exit code, output and errors."""
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("COLUMNS", raising=False)  # by which pytest-xdist would have tables wrapped
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
