"""Template, a task: write here what it is, who proposed it, when, and under which arXiv number."""

from collections.abc import Callable, Iterable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.packing import IGNORE, Batch
from lmkit.errors import UserError
from lmkit.network import Decoder
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks import Task
from lmkit.transforms import Transform


class Template(Task):
    """Next-token prediction with smoothed targets in training.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer.
        schedule: recipe of the learning rate's factor.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        smoothing: share of each target that is spread over all tokens, in [0, 1).
    """

    network: Decoder

    def __init__(
        self,
        network: Callable[[], Decoder],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        smoothing: float = 0.1,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms)
        if not 0 <= smoothing < 1:
            raise UserError(f"smoothing is {smoothing}: give a share of 0 or more, below 1")
        self.smoothing = smoothing

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the batch's valid tokens, and their number."""
        logits = self.network.logits(self.network(batch.inputs, batch.documents)).float()  # (B, T, V)
        smoothing = self.smoothing if self.training else 0.0  # what is measured stays comparable
        loss = F.cross_entropy(
            logits.flatten(0, 1),
            batch.targets.flatten(),
            ignore_index=IGNORE,
            reduction="sum",
            label_smoothing=smoothing,
        )
        return loss, (batch.targets != IGNORE).sum()
