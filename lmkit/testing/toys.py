"""A toy text as a data module, and short runs of the trainer on the CPU that leave nothing behind."""

import contextlib
import io
import logging
import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import CSVLogger
from tokenizers import Tokenizer, models
from torch.utils.data import DataLoader, IterableDataset

from lmkit.checkpoints import AtomicCheckpoints
from lmkit.data.packing import Batch
from lmkit.data.stream import loader_settings
from lmkit.testing.given import VOCABULARY

USED = VOCABULARY - 10
"""Token ids of the toy text; the others are for tasks that have tokens of their own."""

CONTEXT = 16

TOKENIZER = Tokenizer(models.WordLevel({str(token): token for token in range(USED)}, unk_token="0"))
END = 0
"""The id of the token that ends a document."""


def toy_batch(seed: int, rows: int = 4) -> Batch:
    """Rows of tokens, always the same ones for a seed."""
    tokens = torch.randint(1, USED, (rows, CONTEXT + 1), generator=torch.Generator().manual_seed(seed))
    return Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), None)


class _ToyText(LightningDataModule):  # private, so that no list of what a recipe can name has it
    """The step decides the batch, so that a run that goes on sees what it would have seen."""

    tokenizer, end_of_document, vocab_size_used = TOKENIZER, END, USED
    context, bytes_per_token = CONTEXT, 3.0

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches without end."""
        return DataLoader(_Stream(self.first), **loader_settings(0))

    def val_dataloader(self) -> DataLoader[Batch]:
        """Two batches."""
        return DataLoader([toy_batch(-1), toy_batch(-2)], **loader_settings(0))  # type: ignore[arg-type]

    test_dataloader = predict_dataloader = val_dataloader

    def validation_text(self) -> Iterator[bytes]:
        """The same as text."""
        yield from (" ".join(map(str, row)).encode() for row in toy_batch(-1).inputs.tolist())

    def first(self) -> int:
        """The step that the next batch is for."""
        return self.trainer.global_step if self.trainer else 0


class _Stream(IterableDataset[Batch]):
    def __init__(self, first: Any) -> None:
        self.first = first

    def __iter__(self) -> Iterator[Batch]:
        step = self.first()
        while True:
            yield toy_batch(step)
            step += 1


def toy_text() -> LightningDataModule:
    """A fresh one."""
    return _ToyText()


class _Watch(Callback):
    def __init__(self, start: dict[str, Any] | None, kill_at: int | None) -> None:
        self.losses: list[float] = []
        self.batches: list[Any] = []
        self.start, self.kill_at, self.end = start, kill_at, dict[str, Any]()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self.start is not None:
            set_generators(self.start)
            self.start = None
        self.batches.append(batch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))
        self.end = generators()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == self.kill_at:
            self.end = generators()
            trainer.save_checkpoint(Path(trainer.default_root_dir) / KILLED)
            raise Killed


KILLED = "killed.ckpt"
"""What a run that was killed has left in its folder."""


class Killed(Exception):
    """Ends a run."""


def watch(start: dict[str, Any] | None = None, kill_at: int | None = None) -> _Watch:
    """A callback that keeps what each step saw (`batches`) and gave (`losses`), and the generators at the `end`.

    Args:
        start: generators to go on with, as another one's `end`.
        kill_at: raises `Killed` after the validation at this step, which leaves a checkpoint, `KILLED`.
    """
    return _Watch(start, kill_at)


def generators() -> dict[str, Any]:
    """The states of all global generators."""
    return {"torch": torch.get_rng_state(), "python": random.getstate(), "numpy": np.random.get_state(legacy=True)}


def set_generators(states: dict[str, Any]) -> None:
    """Sets them."""
    torch.set_rng_state(states["torch"])
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])


def same_generators(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the states are the same."""
    return (
        torch.equal(one["torch"], other["torch"])
        and one["python"] == other["python"]
        and str(one["numpy"]) == str(other["numpy"])
        and np.array_equal(one["numpy"][1], other["numpy"][1])
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nobody hears what is said."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def own_cache(folder: Path) -> Iterator[None]:
    """What is kept in the cache goes to a folder."""
    before = os.environ.get("LMKIT_CACHE")
    os.environ["LMKIT_CACHE"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("LMKIT_CACHE")
        if before is not None:
            os.environ["LMKIT_CACHE"] = before


@contextlib.contextmanager
def aside(stay: bool = False) -> Iterator[Path]:
    """An empty folder that goes again, seeded generators that are put back, and `quiet`.

    Args:
        stay: whether the current folder stays; it is the empty one otherwise.
    """
    states = generators()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir("." if stay else folder), quiet():
            seed()
            yield Path(folder)
    finally:
        set_generators(states)


def seed(number: int = 0) -> None:
    """Seeds all global generators."""
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


def trainer(folder: Path, steps: int, callbacks: Sequence[Any] = (), **options: Any) -> Trainer:
    """One for a short run that writes into a folder and validates after every second step."""
    usual: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": CSVLogger(folder, name="logs", version=""),
        "max_steps": steps,
        "max_epochs": -1,
        "val_check_interval": 2,
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in callbacks),
        "default_root_dir": folder,
        "plugins": [AtomicCheckpoints()],
    }
    return Trainer(callbacks=[*callbacks], **usual | options)
