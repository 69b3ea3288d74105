"""The task: one visible order of building, compiling, stepping and measuring; a subclass says what the loss is."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics import MeanMetric

from lmkit.checkpoints import LOSS
from lmkit.errors import UserError
from lmkit.hf.start import start_from
from lmkit.network import Network
from lmkit.optim import Constant, Schedule, WarmupCosine, decay_by_rank
from lmkit.optim.groups import apply_factors
from lmkit.tasks.beside import Base, base_for, check_base, keep_learned, names_of_base
from lmkit.tasks.checks import check_data, check_finite, check_scaling, check_trainer, rehearse
from lmkit.tasks.compiling import compile_blocks
from lmkit.tasks.described import as_recipe
from lmkit.tasks.fitting import check_batches
from lmkit.tasks.gradients import DIVISOR, settle_gradients
from lmkit.tasks.heads import tell_left
from lmkit.tasks.regulation import after_step, figures, side_loss
from lmkit.tasks.tally import Tally
from lmkit.tasks.token_losses import tell_rows
from lmkit.transforms import Transform, check_learns, learned_of, transformed
from lmkit.transforms.merging import check_loaded


class Task(LightningModule):
    """Trains a network on the mean loss over the valid tokens of the whole global batch, however that is split.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
    """

    measures_bytes: ClassVar[bool] = True
    """Whether the loss is that of every token of a text, so that its bits per byte can be told."""

    measures_tokens: ClassVar[bool] = True
    """Whether the loss is one of tokens, so that it has a perplexity."""

    writes_text: ClassVar[bool] = True
    """Whether a decoder that it trains goes on with a text, so that samples of that say something."""

    learns_beside: ClassVar[bool] = False
    """Whether parts of its own, such as a head, learn beside the network, all of which may be frozen then."""

    network: Network

    def __init__(
        self,
        network: Callable[[], Network],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        init_from: str | None = None,
    ) -> None:
        super().__init__()
        self._network, self._optimizer, self._schedule, self._compile = network, optimizer, schedule, compile
        self.transforms = transforms or []
        self.init_from = self.origin = init_from
        self._base: Base | None = None
        self.validation_loss = MeanMetric()
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

    def build(self) -> None:
        """Builds the network, fills it if it starts from another, and transforms it."""
        self.network = self.started(self.init_from)
        if self.init_from is not None:
            start = start_from(self.init_from)
            self._base = base_for(start, self.transforms)
            if self.writes_text:
                tell_left(start)

    def started(self, start: str | None) -> Network:
        """A network, filled from a start if there is one, and transformed."""
        network = self._network()
        if start is not None:
            start_from(start).load_into(network)
        return self._transformed(network)

    def made_of(self) -> dict[str, Any]:
        """The options that say what the loss is, with the parts that were made of them; a run goes on with the same
        classes of parts, and is told where an option was changed.
        """
        return {}

    def states(self, network: Any, tokens: Tensor) -> list[Tensor]:
        """All hidden states (1, .., D) that are made logits of in training, for a row of tokens (1, T)."""
        return [network(tokens)]

    def ids_needed(self, data: Any) -> int:
        """Token ids that the network must know."""
        return data.vocab_size_used

    def rehearse(self, steps: int) -> None:
        """Builds the schedule, and the network on the meta device, to find mistakes before any data is prepared.

        Args:
            steps: optimizer steps of the run.

        Raises:
            UserError: something in them does not fit.
        """
        rehearse(self._make, self._schedule, steps, lambda network: self.states(network, _row(network.context)))

    def configure_model(self) -> None:
        """Builds and transforms the network, on the device and in the dtype that the strategy asks for; compiles it."""
        if hasattr(self, "network"):
            return
        if self._datamodule is not None:
            check_batches(self, self._datamodule)
        self.build()
        if self._datamodule is not None:
            check_data(self.network, self._datamodule, self.ids_needed(self._datamodule))
        if self._trainer is not None and self._trainer.state.fn == "fit":
            check_trainer(self._trainer)
            self._tell_learned()
        if self._compile:
            compile_blocks(self)

    def _tell_learned(self) -> None:
        """Says how much of the network learns, where that is not all."""
        learned, whole = learned_of(self.network)
        if learned < whole:
            rank_zero_info(f"{learned:,} of the network's {whole:,} parameters learn ({learned / whole:.2%})")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Takes a checkpoint's weights.

        Raises:
            UserError: they are those of another network.
        """
        try:
            if self._base is None or not strict:
                return super().load_state_dict(state_dict, strict, assign)
            result = super().load_state_dict(state_dict, False, assign)
            check_loaded(result, names_of_base(self.network))
            return result
        except RuntimeError as error:
            raise UserError(
                f"the checkpoint is of another network ({' '.join(str(error).split())[:300]}): give the same --model "
                "options as it was trained with, or start anew without --ckpt_path"
            ) from error

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves out what an adapter's base holds; says what the loss is made of."""
        checkpoint[LOSS] = as_recipe(self.made_of())
        if self._base is not None:
            keep_learned(checkpoint, self.network, self._base, Path(self.trainer.default_root_dir))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Looks whether it is of the same base.

        Raises:
            UserError: it is of another.
        """
        check_base(checkpoint, self._base)

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

    def validation_step(self, batch: Any) -> None:
        """Adds a batch to the validation loss."""
        loss, count = self.loss(batch)
        self.validation_loss.update(loss / count.clamp(min=1), count)

    def on_validation_epoch_start(self) -> None:
        """Keeps the measure in float32, whatever the precision of the network."""
        self.validation_loss.set_dtype(torch.float32)

    def on_test_epoch_start(self) -> None:
        """The same for `test`."""
        self.on_validation_epoch_start()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean loss a token, perplexity and, where the data tells its bytes, bits per byte."""
        self._log_measures("val", prog_bar=True)

    def test_step(self, batch: Any) -> None:
        """Adds a batch to the test loss."""
        self.validation_step(batch)

    def on_test_epoch_end(self) -> None:
        """Logs the same measures for `test`."""
        self._log_measures("test")

    def predictions(self, outputs: Any, batch: Any) -> Iterator[dict[str, Any]]:
        """What `lmkit predict` writes, a line each, of a batch that `predict_step` has given its outputs for."""
        return tell_rows(outputs, batch, self.tokenizer)

    @property
    def tokenizer(self) -> Tokenizer:
        """That of the data."""
        tokenizer: Tokenizer = self._datamodule.tokenizer
        return tokenizer

    def flops_per_token(self, time: int) -> float:
        """FLOPs of one training token in a row of `time` tokens, forward and backward, counted on the meta device.

        What is computed a second time in training (`Checkpointing`) counts once, and gradients that nothing takes
        (`Freeze`) do not.
        """
        with torch.device("meta"):
            network = self._make().eval()  # in which nothing is recomputed
            with FlopCounterMode(display=False) as counter:
                states = torch.cat(self.states(network, _row(time)), dim=1)
                network.logits(states).sum().backward()
        return counter.get_total_flops() / time

    def _make(self) -> Network:
        """A network, transformed."""
        return self._transformed(self._network())

    def _transformed(self, network: Network) -> Network:
        """A network after all transforms."""
        network = transformed(network, self.transforms)
        if not self.learns_beside:
            check_learns(network, self.transforms)
        return network

    def _add_up(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks."""
        total: Tensor = self.trainer.strategy.reduce(tensor, reduce_op="sum")
        return total

    def _log_measures(self, stage: str, prog_bar: bool = False) -> None:
        loss = self.validation_loss.compute()
        self.validation_loss.reset()
        if self.trainer.state.fn == "fit":  # before a checkpoint is written over a good one
            check_finite("validation loss is", loss, self.trainer.global_step)
        self.log(f"{stage}/loss", loss, prog_bar=prog_bar)
        for name, (mean, _) in self._measured.take(self._add_up).items():
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


def _row(time: int) -> Tensor:
    """One row of tokens (1, T)."""
    return torch.zeros(1, time, dtype=torch.long)
