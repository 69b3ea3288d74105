"""The task: builds, fills, transforms and compiles a network in one visible order, and keeps it in checkpoints. How it
learns is in steps.py; a subclass says what the loss is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_info
from tokenizers import Tokenizer
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torch.utils.flop_counter import FlopCounterMode

from lmkit.checkpoints import LOSS
from lmkit.errors import UserError
from lmkit.hf.start import start_from
from lmkit.hf.start_kind import Start, check_numbers
from lmkit.network import Network
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.beside import Base, base_for, check_base, keep_learned, names_of_base
from lmkit.tasks.checks import check_data, check_rows, check_trainer, rehearse
from lmkit.tasks.compiling import compile_blocks
from lmkit.tasks.described import as_recipe
from lmkit.tasks.fitting import check_batches
from lmkit.tasks.heads import tell_left
from lmkit.tasks.steps import Steps
from lmkit.tasks.token_losses import tell_rows
from lmkit.transforms import Transform, check_learns, check_rates, learned_of, packed_in, transformed
from lmkit.transforms.merging import check_loaded


class Task(Steps):
    """Trains a network on the mean loss over the valid tokens of the whole global batch, however that is split.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.

    Attributes:
        opened: what has been read to start from, by its place.
    """

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
        super().__init__(optimizer, schedule)
        self._network, self._compile = network, compile
        self.transforms = transforms or []
        self.init_from = self.origin = init_from
        self.opened: dict[str, Start] = {}
        self._base: Base | None = None

    def build(self) -> None:
        """Builds the network, fills it if it starts from another, and transforms it."""
        self.network = self.started(self.init_from)
        if self.init_from is not None:
            start = self.start(self.init_from)
            self._base = base_for(start, self.transforms)
            if self.writes_text:
                tell_left(start)

    def start(self, place: str) -> Start:
        """What is at a place to start from, read once in a run: others may write something else there meanwhile."""
        if place not in self.opened:
            self.opened[place] = start_from(place)
        return self.opened[place]

    def started(self, place: str | None) -> Network:
        """A network, filled from what is at a place if there is one, and transformed."""
        network = self._network()
        if place is not None:
            given = self.start(place)
            given.load_into(network)
            check_numbers(network, str(given.path))
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

    def rehearse(self, steps: int, data: Any = None) -> None:
        """Builds the schedule, and the network on the meta device, to find mistakes before any data is prepared.

        Args:
            steps: optimizer steps of the run.
            data: what it is to learn from, if that is known.

        Raises:
            UserError: something in them does not fit.
        """
        if data is not None:
            self.check_suits(data)

        def run(network: Network) -> None:
            self.states(network, _row(network.context))
            self.check_network(network)
            if data is not None:
                check_rows(network, data)

        rehearse(self._make, self._schedule, steps, run)

    def check_suits(self, data: Any) -> None:
        """Looks whether the task can learn from data, which need not be prepared.

        Raises:
            UserError: it cannot.
        """
        check_batches(self, data)

    def check_network(self, network: Network) -> None:
        """Looks whether the task can train a network, which may be on the meta device.

        Raises:
            UserError: it cannot.
        """

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
        """Says how much of the network learns, where that is not all, and how much of it is in four bits."""
        learned, whole = learned_of(self.network)
        if learned < whole:
            packed = packed_in(self.network)
            beside = f", {packed:,} are kept in four bits ({packed / whole:.1%})" if packed else ""
            rank_zero_info(f"{learned:,} of the network's {whole:,} parameters learn ({learned / whole:.2%}){beside}")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Takes a checkpoint's weights.

        Raises:
            UserError: they are those of another network.
        """
        try:
            beside = self._base is not None and strict
            result = super().load_state_dict(state_dict, strict and not beside, assign)
            if beside:
                check_loaded(result, names_of_base(self.network))
            check_numbers(self, "the checkpoint")
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

    def predictions(self, outputs: Any, batch: Any, number: int) -> Iterator[dict[str, Any]]:
        """What `lmkit predict` writes, a line each, of a batch that `predict_step` has given its outputs for.

        Args:
            outputs: of `predict_step`.
            batch: it is of.
            number: of that batch.

        Returns:
            As `row`, if told, the number of a row, by which lines are put in order, and in whose place its name comes.
        """
        return tell_rows(outputs, batch, number, self.tokenizer)

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
        check_rates(network, self.transforms)
        if not self.learns_beside:
            check_learns(network, self.transforms)
        return network


def _row(time: int) -> Tensor:
    """One row of tokens (1, T)."""
    return torch.zeros(1, time, dtype=torch.long)
