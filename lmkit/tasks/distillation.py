"""Distillation: learn from what a larger network says of each next token (Hinton et al. 2015, arXiv:1503.02531)."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.packing import IGNORE, Batch
from lmkit.errors import UserError
from lmkit.losses import Divergence, ForwardKL, between_logits, between_top_k, chunked_distillation
from lmkit.losses.chunks import wide
from lmkit.network import Decoder
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.checks import check_chunk
from lmkit.tasks.task import Task
from lmkit.tasks.teachers import Teacher
from lmkit.tasks.token_losses import row_losses
from lmkit.transforms import Transform

TEACHER = "teacher"
"""Where a checkpoint says which teacher the run learns from."""


class Distillation(Task):
    """Next-token prediction beside a teacher: a part of the loss is how far the network's distribution is from that of
    another network, which stays as it is (Hinton et al. 2015, arXiv:1503.02531).

    The loss is (1 - weight) times the cross-entropy and weight times the divergence, that times the square of its
    temperature, lest its gradients shrink. What is validated is the cross-entropy alone, so that it can be compared
    with that of other runs; both parts are logged (`cross_entropy`, `divergence`). The data takes the teacher's
    tokenizer unless it names one, which must have the same tokens.

    Args:
        network: recipe of the network.
        teacher: where the teacher is: a run, a checkpoint or a Hugging Face folder.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        chunk: tokens whose logits, of both networks, exist at once; less takes less memory.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
        divergence: from the teacher, such as `ReverseKL`; none for `ForwardKL`.
        weight: of the divergence in the loss, above 0, at most 1.
        top_k: the teacher's likeliest tokens of each distribution, kept in the cache once for each row, so that it is
            not run again for the same row, in a later run either; none for all, kept nowhere.
    """

    network: Decoder

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is the configuration)
        self,
        network: Callable[[], Decoder],
        teacher: str,
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        chunk: int = 2048,
        init_from: str | None = None,
        divergence: Divergence | None = None,
        weight: float = 0.5,
        top_k: int | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)
        check_chunk(chunk)
        if not 0 < weight <= 1:
            raise UserError(f"weight is {weight}: give the divergence's share of the loss, above 0 and at most 1")
        if top_k is not None and top_k < 1:
            raise UserError(f"top_k is {top_k}: give the number of the teacher's likeliest tokens, 1 or more, or null")
        self.chunk, self.weight, self.top_k = chunk, weight, top_k
        self.divergence = divergence or ForwardKL()
        self.teacher = Teacher(teacher, top_k, self.divergence.temperature, chunk)

    def made_of(self) -> dict[str, Any]:
        """See `Task`."""
        return {"divergence": self.divergence, "weight": self.weight, "top_k": self.top_k}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Says too which teacher the run learns from."""
        super().on_save_checkpoint(checkpoint)
        if self.teacher.base is not None:
            checkpoint[TEACHER] = self.teacher.told(Path(self.trainer.default_root_dir))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps which teacher the run has learned from, to be found again before the first step."""
        super().on_load_checkpoint(checkpoint)
        self.teacher.known = checkpoint.get(TEACHER)

    def begin(self) -> None:
        """Has the teacher be at hand."""
        self.teacher.begin(self, self.tokenizer, self._datamodule.vocab_size_used)

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the valid tokens, and their number; out of training the cross-entropy."""
        valid = batch.targets != IGNORE
        hidden = self.network(batch.inputs, batch.documents)[valid][None]  # (1, N, D)
        targets, said = batch.targets[valid][None], self.teacher.said(self, batch)
        beside = _Beside(self._compare(), self.weight * self.divergence.temperature**2, 1 - self.weight)
        told = [targets, *(part[None] for part in said)]
        head, parameters = self.network.logits, [self.network.head_weight]
        loss, count = chunked_distillation(beside, head, parameters, hidden, targets, told, self.chunk)
        self.note("divergence", beside.divergence, count)
        if not self.training:
            return beside.cross_entropy, count
        self.note("cross_entropy", beside.cross_entropy, count)
        return loss, count

    def predict_step(self, batch: Batch) -> Tensor:
        """For each row its summed cross-entropy in nats and its number of valid tokens (B, 2)."""
        return row_losses(self.network, self.network(batch.inputs, batch.documents), batch.targets, self.chunk)

    def _compare(self) -> Callable[..., Tensor]:
        """The divergence (N) by the student's logits (N, V) and what the teacher has said."""
        used, temperature = self._datamodule.vocab_size_used, self.divergence.temperature
        if self.top_k is not None:
            compare = partial(between_top_k, self.divergence, temperature=temperature)
            return lambda logits, values, ids: compare(logits[:, :used], values, ids)
        teacher = self.teacher.network(self)
        compare = partial(between_logits, self.divergence, temperature=temperature)
        return lambda logits, states: compare(logits[:, :used], teacher.logits(states)[:, :used])


class _Beside:
    """Both parts of the loss of some tokens (N) in one, and the sum of each so far.

    Args:
        compare: the divergence.
        weight: of it.
        rest: of the cross-entropy.
    """

    def __init__(self, compare: Callable[..., Tensor], weight: float, rest: float) -> None:
        self._compare, self._weight, self._rest = compare, weight, rest
        self.divergence = self.cross_entropy = torch.zeros(())

    def __call__(self, logits: Tensor, targets: Tensor, *said: Tensor) -> Tensor:
        apart = self._compare(logits, *said)
        entropy = F.cross_entropy(wide(logits), targets, reduction="none")
        self.divergence = self.divergence.to(apart.device) + apart.detach().sum()
        self.cross_entropy = self.cross_entropy.to(apart.device) + entropy.detach().sum()
        return self._weight * apart + self._rest * entropy
