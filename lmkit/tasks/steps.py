"""Steps: how a loss is made into optimizer steps and measures, whatever network it is of."""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lmkit.errors import UserError
from lmkit.optim import Constant, Schedule, decay_by_rank
from lmkit.optim.groups import apply_factors
from lmkit.tasks.checks import check_finite, check_scaling
from lmkit.tasks.gradients import DIVISOR, settle_gradients
from lmkit.tasks.regulation import after_step, figures, side_loss
from lmkit.tasks.tally import Tally


class Steps(LightningModule):
    """Steps by the mean of a loss over the valid tokens of the whole global batch, however that is split; logs it.

    Args:
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
    """

    measures_bytes: ClassVar[bool] = True
    """Whether the loss is that of every token of a text, so that its bits per byte can be told."""

    measures_tokens: ClassVar[bool] = True
    """Whether the loss is one of tokens, so that it has a perplexity."""

    def __init__(self, optimizer: Callable[[Iterable[Any]], Optimizer], schedule: Callable[[int], Schedule]) -> None:
        super().__init__()
        self._optimizer, self._schedule = optimizer, schedule
        self._trained, self._measured = Tally(), Tally()

    def loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the batch's valid tokens, and their number; what a task is.

        Raises:
            UserError: this is the base class, which cannot train.
        """
        # not abstract, because the parser prints help for parts of the base class too
        raise UserError(f"{type(self).__name__} has no loss: choose a task such as Pretraining, by --model=Pretraining")

    def note(self, name: str, total: Tensor, count: Tensor) -> None:
        """Has a mean be logged beside the loss, as `train/NAME` of an optimizer step and `val/NAME` of a validation.

        Args:
            name: of the figure.
            total: its sum over a batch.
            count: of what it is the sum.
        """
        (self._trained if self.training else self._measured).add(name, total, count)

    def training_loss(self, batch: Any) -> tuple[Tensor, Tensor, Tensor | float]:
        """The same, and what is added to it in training only, also summed over the valid tokens."""
        loss, count = self.loss(batch)
        return loss, count, self.side_loss() * count

    def side_loss(self) -> Tensor | float:
        """What layers that regulate themselves add to the loss, in nats a token."""
        return side_loss(self)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimizer, and the schedule by optimizer step."""
        try:
            optimizer = self._optimizer(decay_by_rank(self))
        except ValueError as error:  # by which torch's refuse numbers out of range
            raise UserError(f"the optimizer cannot be made: {error}: correct --model.optimizer") from error
        apply_factors(optimizer)
        check_scaling(optimizer, str(self.trainer.precision))
        # a trial run of a batch or two has no time for a warm-up
        trial = self.trainer.fast_dev_run  # type: ignore[attr-defined]
        schedule = Constant(1) if trial else self._schedule(self.trainer.max_steps)
        # a function, because LambdaLR would restore an object's old attributes over those of a resumed, longer run
        scheduler = LambdaLR(optimizer, lambda step: schedule(step))  # noqa: PLW0108
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def training_step(self, batch: Any) -> Tensor:
        """The micro-batch's summed loss and its layers' own, divided by a constant."""
        loss, count, beside = self.training_loss(batch)
        self._trained.add("loss", loss, count)
        return (loss + beside) / DIVISOR

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Brings gradients from Lightning's mean over micro-batches to the mean over valid tokens; clips; logs."""
        means = self._trained.take(self._add_up)
        _, count = means["loss"]
        norm = settle_gradients(optimizer, count, self.trainer)
        for name, (mean, _) in means.items():
            self.log(f"train/{name}", mean, prog_bar=name == "loss")
        self.log("train/gradient_norm", norm)
        self.log("train/learning_rate", optimizer.param_groups[0]["lr"])
        self.log_dict({f"layers/{name}": value for name, value in figures(self).items()})
        after_step(self, self._add_up)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clipping by norm is done above, what is left is clipping by value."""
        if gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def begin(self) -> None:
        """Gets ready before a run's first step, or its first measure, once network and data are there.

        Raises:
            UserError: something is missing, such as a network to compare with.
        """

    def on_fit_start(self) -> None:
        """Gets ready."""
        self.begin()

    def on_validation_start(self) -> None:
        """Gets ready, in a run that only measures."""
        if self.trainer.state.fn != "fit":
            self.begin()

    on_test_start = on_validation_start

    def validation_step(self, batch: Any) -> None:
        """Adds a batch to the validation loss."""
        self._measured.add("loss", *self.loss(batch))

    def on_validation_epoch_end(self) -> None:
        """Logs the mean loss a token, perplexity and, where the data tells its bytes, bits per byte."""
        self._log_measures("val", prog_bar=True)

    def test_step(self, batch: Any) -> None:
        """Adds a batch to the test loss."""
        self.validation_step(batch)

    def on_test_epoch_end(self) -> None:
        """Logs the same measures for `test`."""
        self._log_measures("test")

    def _add_up(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks."""
        total: Tensor = self.trainer.strategy.reduce(tensor, reduce_op="sum")
        return total

    def _log_measures(self, stage: str, prog_bar: bool = False) -> None:
        means = self._measured.take(self._add_up)
        loss, count = means.pop("loss")
        loss = torch.where(count > 0, loss, torch.nan)  # of nothing
        if self.trainer.state.fn == "fit":  # before a checkpoint is written over a good one
            check_finite("validation loss is", loss, self.trainer.global_step)
        self.log(f"{stage}/loss", loss, prog_bar=prog_bar)
        for name, (mean, _) in means.items():
            self.log(f"{stage}/{name}", mean)
        if not self.measures_tokens:
            return
        self.log(f"{stage}/perplexity", loss.exp())
        bytes_per_token = getattr(self._datamodule, "bytes_per_token", None)
        if bytes_per_token and self.measures_bytes:
            self.log(f"{stage}/bits_per_byte", loss / math.log(2) / bytes_per_token, prog_bar=prog_bar)

    @property
    def _datamodule(self) -> Any:
        return getattr(self._trainer, "datamodule", None)
