"""The reference of a preference loss: what the network was before, by which the loss tells how far it has moved."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor, nn

from lmkit.data.corpus.identity import identity
from lmkit.data.examples.trees import Trees
from lmkit.data.prepare import cache_root
from lmkit.errors import UserError
from lmkit.hf.start import start_from
from lmkit.network import Decoder
from lmkit.transforms import Adapter


class Reference(ABC):
    """A kind: where the log-probabilities of the reference come from. What a class keeps is no part of the task, so
    that no checkpoint has it.
    """

    @abstractmethod
    def begin(self, task: Any) -> None:
        """Gets ready, once the network and its data are there.

        Raises:
            UserError: there is no reference of this kind.
        """

    @abstractmethod
    def sums(self, task: Any, trees: Trees) -> Tensor:
        """The log-probability of each completion in nats (C), without a gradient."""


class AdaptersOff(Reference):
    """The network with its adapters switched off: no second network, but a second forward in each step."""

    def begin(self, task: Any) -> None:
        """See `Reference`."""
        if not any(hasattr(module, "base_layer") for module in task.network.modules()):
            raise UserError("AdaptersOff needs a network with adapters: add LoRA to model.transforms, or take Stored")
        if any(isinstance(transform, Adapter) and transform.also for transform in task.transforms):
            raise UserError(
                "AdaptersOff leaves on what an adapter's `also` has learned, so that it is no reference: take Stored"
            )

    @torch.no_grad()
    def sums(self, task: Any, trees: Trees) -> Tensor:
        """See `Reference`."""
        with _adapters_off(task.network), _evaluated(task.network):
            sums, _ = task.log_probabilities(task.network, trees)
        return sums


class FrozenCopy(Reference):
    """A second network in memory, as the run has started, and a second forward in each step."""

    def __init__(self) -> None:
        self._network: Decoder | None = None

    def begin(self, task: Any) -> None:
        """See `Reference`."""
        self._network = starting_network(task)

    @torch.no_grad()
    def sums(self, task: Any, trees: Trees) -> Tensor:
        """See `Reference`."""
        sums, _ = task.log_probabilities(self._network, trees)
        return sums


class Stored(Reference):
    """Log-probabilities that are computed once, before the first step, and kept in the cache for later runs with the
    same start, data and precision: neither a second network nor a second forward in training.
    """

    def __init__(self) -> None:
        self._tables: dict[bool, Tensor] = {}  # (N, completions of an example), by whether they are to train on

    def begin(self, task: Any) -> None:
        """See `Reference`."""
        data, network = task.trainer.datamodule, None
        for training, store in ((True, data.train), (False, data.validation)):
            rows = data.rows(store)
            file = cache_root() / "references" / f"{_key(task, rows.fingerprint)}.npy"
            kept = np.load(file) if task.trainer.is_global_zero and file.is_file() else None
            kept = task.trainer.strategy.broadcast(kept)  # the cache of another machine may have none
            if kept is None:
                network = network or starting_network(task)
                kept = _computed(task, network, rows)
                if task.trainer.is_global_zero:
                    _keep(kept, file)
            self._tables[training] = torch.from_numpy(kept).to(task.device)

    def sums(self, task: Any, trees: Trees) -> Tensor:
        """See `Reference`."""
        table = self._tables[task.training]
        first = trees.examples.view(-1, table.size(1))[:, 0]
        return table[first].flatten()


@torch.no_grad()
def _computed(task: Any, network: Decoder, rows: Any) -> NDArray[np.float32]:
    """The log-probabilities of all examples, of which each rank computes its share."""
    trainer = task.trainer
    rank_zero_info(f"the reference's log-probabilities of {len(rows)} examples are computed, once")
    share = range(trainer.global_rank, len(rows), trainer.world_size)
    step = max(1, trainer.datamodule.batch_size)
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
    table = np.empty((len(rows), shares[0].shape[1]), np.float32)
    for rank, part in enumerate(shares):
        if part is not None:
            table[rank :: trainer.world_size] = part
    return table


def _keep(table: NDArray[np.float32], file: Path) -> None:
    """Writes a table, all of it or nothing."""
    part = file.with_suffix(f".{os.getpid()}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    with part.open("wb") as opened:
        np.save(opened, table)
    part.replace(file)


def starting_network(task: Any) -> Decoder:
    """The network as the run has started, on the device and in the precision of the run.

    Raises:
        UserError: it has started from nothing.
    """
    if task.origin is None:
        raise UserError(
            f"{type(task.preference_loss).__name__} compares with the network that the run starts from: give one by "
            "model.init_from, or take a loss without a reference, such as SimPO"
        )
    with torch.random.fork_rng():  # what adapters draw is none of the run's
        network: Any = task.started(task.origin)
    network = task.trainer.precision_plugin.convert_module(network)
    network.to(task.device).eval().requires_grad_(False)
    return network


def _key(task: Any, fingerprint: str) -> str:
    """What the log-probabilities depend on: the start, the network, the examples, and the precision."""
    start = start_from(task.origin).fingerprint() if task.origin else None
    changed = [identity(transform) for transform in task.transforms if transform.changes == "network"]
    parts = [start, described(task.network), changed, fingerprint, str(task.trainer.precision)]
    return blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def described(network: nn.Module) -> list[Any]:
    """The parts of a network with their plain options, such as a window, which no tensor tells."""
    found = []
    for name, part in network.named_modules():
        options = sorted((key, repr(value)) for key, value in vars(part).items() if _is_option(key, value))
        found.append([name, type(part).__name__, options])
    return found


def _is_option(key: str, value: Any) -> bool:
    return key != "training" and isinstance(value, bool | int | float | str | None)


@contextmanager
def _adapters_off(network: nn.Module) -> Iterator[None]:
    adapted: list[Any] = [module for module in network.modules() if hasattr(module, "base_layer")]
    for layer in adapted:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in adapted:
            layer.enable_adapters(True)


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Without dropout."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
