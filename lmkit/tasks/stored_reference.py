"""A reference's log-probabilities, computed once and kept in the cache."""

import json
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray
from torch import Tensor

from lmkit.data.corpus.identity import identity
from lmkit.data.examples.trees import Trees
from lmkit.data.prepare import cache_root
from lmkit.network import Decoder
from lmkit.tasks.described import described
from lmkit.tasks.references import Reference, starting_network

FORMAT = 3
"""Of what is kept in the cache, and of lmkit's code that computes it; another number computes all anew."""

TOGETHER = 4096
"""Examples after which the table is written, so that a run that is killed goes on from there."""


class Stored(Reference):
    """Log-probabilities that are computed once for each example that a run sees, before its first step, and kept in the
    cache for later runs with the same start, data and precision: neither a second network nor a second forward in
    training.
    """

    def __init__(self) -> None:
        self._tables: dict[bool, Tensor] = {}  # (N, completions of an example), by whether they are to train on

    def begin(self, task: Any) -> None:
        """See `Reference`."""
        data, trainer, network = task.trainer.datamodule, task.trainer, None
        for training, store in ((True, data.train), (False, data.validation)):
            rows = data.rows(store)
            file = cache_root() / "references" / f"{_key(task, rows.fingerprint)}.npy"
            kept = _read(file) if trainer.is_global_zero else None
            kept = trainer.strategy.broadcast(kept)  # the cache of another machine may have none
            missing = _missing(_seen(trainer, data) if training else range(len(rows)), kept)
            if missing:
                rank_zero_info(f"the reference's log-probabilities of {len(missing)} examples are computed, once")
                network = network or starting_network(task)
                kept = _completed(task, network, rows, missing, kept, file)
            if kept is not None:
                self._tables[training] = torch.from_numpy(kept).to(task.device)

    def sums(self, task: Any, trees: Trees) -> Tensor:
        """See `Reference`."""
        table = self._tables[task.training]
        first = trees.examples.view(-1, table.size(1))[:, 0]
        return table[first].flatten()


def _seen(trainer: Any, data: Any) -> Sequence[int]:
    """The examples to train on that a run sees; all of them where no command runs."""
    if trainer.state.fn == "fit":
        seen: Sequence[int] = data.rows_to_train(trainer.max_steps)
        return seen
    return range(len(data.train) if trainer.state.fn is None else 0)


def _missing(wanted: Sequence[int], kept: NDArray[np.float32] | None) -> Sequence[int]:
    """Which of the wanted examples have no log-probabilities in a table yet, where that is not a number."""
    return wanted if kept is None else [number for number in wanted if np.isnan(kept[number]).any()]


def _completed(
    task: Any, network: Decoder, rows: Any, missing: Sequence[int], kept: NDArray[np.float32] | None, file: Path
) -> NDArray[np.float32] | None:
    """A table in which nothing is missing; it is written as it is filled."""
    for first in range(0, len(missing), TOGETHER):
        numbers = missing[first : first + TOGETHER]
        kept = _filled(kept, len(rows), numbers, _computed(task, network, rows, numbers))
        if task.trainer.is_global_zero:
            kept = _keep(kept, file)
    return kept


def _filled(
    kept: NDArray[np.float32] | None, count: int, numbers: Sequence[int], found: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A table of so many examples in which what has been found of some stands beside what was kept."""
    table = np.full((count, found.shape[1]), np.nan, np.float32) if kept is None else kept.copy()
    table[numbers] = found
    return table


@torch.no_grad()
def _computed(task: Any, network: Decoder, rows: Any, numbers: Sequence[int]) -> NDArray[np.float32]:
    """The log-probabilities of the examples of these numbers, of which each rank computes its share."""
    trainer = task.trainer
    share = numbers[trainer.global_rank :: trainer.world_size]
    step = max(1, trainer.datamodule.batch_size // (trainer.accumulate_grad_batches * trainer.world_size))
    found = []
    for first in range(0, len(share), step):
        here = share[first : first + step]
        trees = Trees(*(part.to(task.device) for part in rows.batch(here)))
        with trainer.precision_plugin.forward_context():
            sums, _ = task.log_probabilities(network, trees)
        found.append(sums.float().view(len(here), -1).cpu().numpy())
    own = np.concatenate(found) if found else None
    shares: list[Any] = [own]
    if trainer.world_size > 1:
        shares = [None] * trainer.world_size
        torch.distributed.all_gather_object(shares, own)
    table = np.empty((len(numbers), shares[0].shape[1]), np.float32)
    for rank, part in enumerate(shares):
        if part is not None:
            table[rank :: trainer.world_size] = part
    return table


def _read(file: Path) -> NDArray[np.float32] | None:
    """A table of the cache, if it is there and whole."""
    try:
        table: NDArray[np.float32] = np.load(file)
    except FileNotFoundError:
        return None
    except (ValueError, EOFError) as error:
        rank_zero_warn(f"{file} is damaged ({error}): the reference's log-probabilities are computed anew")
        return None
    return table


def _keep(table: NDArray[np.float32], file: Path) -> NDArray[np.float32]:
    """Writes a table, all of it or nothing, with what another run has written meanwhile, and returns it."""
    other = _read(file)
    table = table if other is None else np.where(np.isnan(table), other, table)
    part = file.with_suffix(f".{os.getpid()}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as opened:
        np.save(opened, table)
    part.replace(file)
    return table


def _key(task: Any, fingerprint: str) -> str:
    """What the log-probabilities depend on: the start, the network with its code, the examples, and the precision."""
    changed = [identity(transform) for transform in task.transforms if transform.changes == "network"]
    parts = [FORMAT, task.reference_key, described(task.network), changed, fingerprint, str(task.trainer.precision)]
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
