"""Data modules: they yield batches, in one order, go on where a run was killed, and tell what a task and a report ask.

The data is prepared as for a run, so that what is slow there is slow here once.
"""

import contextlib
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule, LightningModule
from torch import Tensor, nn

from lmkit.data.packing import Batch
from lmkit.testing.looks import LOOKS
from lmkit.testing.results import Failed, NotApplicable, counted
from lmkit.testing.subject import Subject
from lmkit.testing.suite import check
from lmkit.testing.toys import KILLED, Killed, aside, generators, quiet, same_generators, seed, trainer, watch

KIND = (LightningDataModule,)
STEPS, HALF = 4, 2
NUMBERS = ("end_of_document", "vocab_size_used", "context")


@check("tells of itself", KIND, "set tokenizer, end_of_document, vocab_size_used, context in setup()", runs=True)
def attributes(subject: Subject) -> str | None:
    """The numbers that a network shares with it, its tokenizer, and the text to validate on, in bytes."""
    data = _opened(subject)
    for name in NUMBERS:
        if not isinstance(getattr(data, name, None), int):
            raise Failed(f"its {name} is {getattr(data, name, None)!r}, not a number", do=f"set {name} in setup()")
    if not 0 <= data.end_of_document < data.vocab_size_used:
        raise Failed(f"end_of_document is {data.end_of_document}, but ids are below {data.vocab_size_used}")
    text = next(iter(data.validation_text()), None)
    if not isinstance(text, bytes):
        raise Failed(
            f"validation_text() gives a {type(text).__name__}", do="yield each validation document in UTF-8, as bytes"
        )
    if not data.tokenizer.decode(data.tokenizer.encode(text.decode()).ids):
        raise Failed("its tokenizer does not read its text", do="give the tokenizer that made the tokens")
    return f"vocab_size_used {data.vocab_size_used}, context {data.context}"


@check(
    "batches", KIND, "yield what `gives` says, `Batch` of lmkit.data.packing without one, from each loader", runs=True
)
def batches(subject: Subject) -> str | None:
    """To train on and to validate on: shapes, ids, targets, documents, and what else the type of the batch promises."""
    data = _opened(subject)
    kind = getattr(data, "gives", Batch)
    found = {"train": _first(data.train_dataloader()), "val": _first(data.val_dataloader())}
    for stage, some in found.items():
        if not some:
            raise Failed(f"{stage}_dataloader() yields nothing")
        for batch in some:
            if not isinstance(batch, kind):
                raise Failed(f"a batch of {stage}_dataloader() is a {type(batch).__name__}, not a {kind.__name__}")
            if kind in LOOKS:
                LOOKS[kind](batch, data, f"a batch of {stage}_dataloader()")
    if kind not in LOOKS:
        raise NotApplicable(f"its batches are {kind.__name__}, of which the kit knows nothing else")
    rows, time = found["train"][0].inputs.shape
    return f"{rows} rows of {time} tokens"


@check(
    "same order", KIND, "let the order follow from a seed among its options, and give loaders a generator of their own"
)
def order(subject: Subject) -> str | None:
    """Two modules of the same options yield the same batches, whatever the global seed, which they leave alone."""
    runs = []
    for number in (1, 2):
        data = _opened(subject)
        with aside(stay=True):
            seed(number)
            before = generators()
            runs.append([_first(data.train_dataloader()), _first(data.val_dataloader())])
            if not same_generators(before, generators()):
                raise Failed("reading draws from a global random generator")
    for one, other in zip(*runs, strict=True):
        if not _same(one, other):
            raise Failed("two modules of the same options yield other batches")
    return counted(sum(map(len, runs[0])), "batch")


@check(
    "goes on with the data", KIND, "begin at the step that the trainer has reached, or keep the place in state_dict()"
)
def resumes(subject: Subject) -> str | None:
    """A run that was killed and goes on sees the batches that it would have seen."""
    whole, killed, rest = _opened(subject), _opened(subject), _opened(subject)
    with aside(stay=True) as folder:
        expected = _fit(folder, whole)
        seen = _fit(folder, killed, kill_at=HALF)
        after = _fit(folder, rest, checkpoint=folder / KILLED)
    if not _same(expected[:HALF], seen):
        raise Failed("two runs see other batches")
    if not _same(expected[HALF:], after):
        raise Failed(f"after a run went on from step {HALF}, it sees other batches")
    return counted(len(expected), "step")


def _opened(subject: Subject) -> Any:
    """A fresh one that is ready to be read."""
    data = subject.make()
    with quiet():
        data.prepare_data()
        data.setup("fit")
    return data


def _first(loader: Any) -> list[Any]:
    return [*islice(iter(loader), STEPS)]


def _same(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists of batches are the same."""
    if len(one) != len(other):
        return False
    pairs = [(a, b) for left, right in zip(one, other, strict=True) for a, b in zip(left, right, strict=True)]
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


class _Idle(LightningModule):
    """Learns nothing, so that only the data takes time."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any) -> Tensor:
        return self.weight * 1.0

    def validation_step(self, batch: Any) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def _fit(folder: Path, data: Any, kill_at: int | None = None, checkpoint: Path | None = None) -> list[Any]:
    """The batches that a short run sees."""
    seed()
    seen = watch(kill_at=kill_at)
    with contextlib.suppress(Killed):
        run = trainer(folder, STEPS, [seen], limit_val_batches=1)
        run.fit(_Idle(), datamodule=data, ckpt_path=checkpoint)
    return seen.batches
