"""Pretraining: predict each next token (Radford et al. 2018)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.packing import Batch
from lmkit.errors import UserError
from lmkit.losses import chunked_cross_entropy
from lmkit.network import Decoder
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.task import Task


class Pretraining(Task):
    """Next-token prediction on rows of text.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        chunk: tokens whose logits exist at once; less takes less memory.
    """

    network: Decoder

    def __init__(
        self,
        network: Callable[[], Decoder],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        chunk: int = 2048,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile)
        if chunk < 1:
            raise UserError(f"chunk is {chunk}: give the number of tokens whose logits may exist at once, 1 or more")
        self.chunk = chunk

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the batch's valid tokens, and their number."""
        return self._loss_of(self.network(batch.inputs, batch.documents), batch.targets)

    def predict_step(self, batch: Batch) -> Tensor:
        """For each row its summed loss in nats and its number of valid tokens (B, 2)."""
        hidden = self.network(batch.inputs, batch.documents)
        rows = zip(hidden.split(1), batch.targets.split(1), strict=True)
        return torch.stack([torch.stack([x.float() for x in self._loss_of(*row)]) for row in rows])

    def _loss_of(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and number of the valid tokens, of hidden states (B, T, D) and targets (B, T)."""
        return chunked_cross_entropy(self.network.logits, [self.network.head_weight], hidden, targets, self.chunk)
