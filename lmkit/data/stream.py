"""Streams of micro-batches: an endless one to train on, and one that reads every row once to validate.

With B sequences a step, R ranks, A accumulated micro-batches and b = B / (A * R): step k trains on samples
[k * B, (k + 1) * B), and micro-batch j of rank r is samples k * B + (j * R + r) * b and the b - 1 after it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lmkit.data.order import Order
from lmkit.errors import UserError


class IndexedRows(Protocol):
    """Rows by number, of which batches are made."""

    def __len__(self) -> int:
        """How many there are, 1 or more."""
        ...

    def batch(self, indices: Iterable[int]) -> Any:
        """The rows of these numbers; what lies past the last one is filled with what counts for nothing."""
        ...


class Share(NamedTuple):
    """Which part of every global batch is read here: micro-batches accumulated a step, ranks, and this rank."""

    micro_batches: int = 1
    ranks: int = 1
    rank: int = 0

    def micro_batch_size(self, batch_size: int) -> int:
        """Sequences in one micro-batch of one rank.

        Raises:
            UserError: the sequences of a step cannot be shared out evenly.
        """
        parts = self.micro_batches * self.ranks
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}; give the sequences of an optimizer step, 1 or more")
        if batch_size % parts:
            raise UserError(
                f"batch_size {batch_size} does not divide into {self.micro_batches} micro-batches on each of"
                f" {self.ranks} ranks; give a multiple of {parts}, such as {-(-batch_size // parts) * parts}"
            )
        return batch_size // parts


class TrainStream(IterableDataset[Any]):
    """This rank's micro-batches without end, the same for any number of workers."""

    def __init__(self, rows: IndexedRows, order: Order, batch_size: int, share: Share, start_sample: int = 0) -> None:
        """`batch_size` is in sequences a step over all ranks; `start_sample` is the first one, of the whole run."""
        self.rows, self.order, self.batch_size, self.share = rows, order, batch_size, share
        self.micro_batch_size = share.micro_batch_size(batch_size)
        # In shared memory, since workers that persist keep the copy of this object that they were started with.
        self._start = torch.tensor(start_sample).share_memory_()

    def start_at(self, sample: int) -> None:
        """Makes every iteration that begins later, in any worker, begin at this sample."""
        self._start.fill_(sample)

    def __iter__(self) -> Iterator[Any]:
        """Yields micro-batches; worker w of W yields number w, w + W, and so on."""
        start = int(self._start)
        for number in count(*_worker()):
            step, micro_batch = divmod(number, self.share.micro_batches)
            place = micro_batch * self.share.ranks + self.share.rank
            first = start + step * self.batch_size + place * self.micro_batch_size
            yield self.rows.batch(self.order[sample] for sample in range(first, first + self.micro_batch_size))


class TrainLoader(DataLoader[Any]):
    """Begins each iteration at the sample that the run has reached: Lightning iterates anew after every epoch."""

    def __init__(self, stream: TrainStream, reached: Callable[[], int], workers: int) -> None:
        """`reached` tells the next sample to train on."""
        super().__init__(stream, **loader_settings(workers))
        self._stream, self._reached = stream, reached

    def __iter__(self) -> Any:
        self._stream.start_at(self._reached())
        return super().__iter__()


class ValidationStream(IterableDataset[Any]):
    """All rows once over all ranks: rank r of R reads rows r, r + R, and so on, in micro-batches.

    What is missing to give every rank the same number of full batches is filled with rows that have no target.
    """

    def __init__(self, rows: IndexedRows, micro_batch_size: int, share: Share) -> None:
        """`micro_batch_size` is in sequences, on each rank."""
        self.rows, self.micro_batch_size, self.share = rows, micro_batch_size, share

    def __len__(self) -> int:
        """How many micro-batches every rank reads."""
        return math.ceil(len(self.rows) / (self.share.ranks * self.micro_batch_size))

    def __iter__(self) -> Iterator[Any]:
        """Yields micro-batches; worker w of W yields number w, w + W, and so on."""
        step = self.share.ranks * self.micro_batch_size
        first, workers = _worker()
        for number in range(first, len(self), workers):
            yield self.rows.batch(
                islice(count(number * step + self.share.rank, self.share.ranks), self.micro_batch_size)
            )


def loader_settings(workers: int) -> dict[str, Any]:
    """What every DataLoader here is given."""
    return {
        "batch_size": None,  # a stream yields whole micro-batches
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": torch.cuda.is_available(),
        # Without its own, making an iterator draws from the global generator, and a resumed run would differ.
        "generator": torch.Generator(),
    }


def _worker() -> tuple[int, int]:
    """Number of this DataLoader worker, and how many there are."""
    info = get_worker_info()
    return (info.id, info.num_workers) if info else (0, 1)
