"""What any place to start from gives: weights, and what comes along with them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.hf.heads import Head
from lmkit.hf.tokens.files import TokenizerFiles


class Start(ABC):
    """Weights to begin with, and what comes along with them.

    Attributes:
        path: of the folder or the file.
        recipe: of the network that they are of.
        plugins: what it needs.
        notes: what has been left out, a line each.
    """

    path: Path
    recipe: dict[str, Any]
    plugins: list[str]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def load_into(self, network: nn.Module) -> None:
        """Fills a network of that recipe, which may have more token ids.

        Raises:
            UserError: the network is another one.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """All weights by the names of a network of that recipe, in the dtypes that they are kept in."""

    @abstractmethod
    def fingerprint(self) -> str:
        """What tells these weights from others, of all that is read to make them: names, shapes, dtypes, numbers."""

    @abstractmethod
    def tokenizer(self) -> TokenizerFiles:
        """The files of its tokenizer."""

    @property
    def head(self) -> Head | None:
        """What a task has learned beside the network; none if it has nothing there."""
        return None

    @property
    def chat(self) -> dict[str, Any] | None:
        """How conversations are written that it was trained on, as a checkpoint keeps it; none if it keeps none."""
        return None

    @property
    @abstractmethod
    def imported(self) -> dict[str, Any] | None:
        """What came with it from Hugging Face, as a checkpoint keeps it; none if it was made here."""


def check_same(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Compares the names and shapes of a network's tensors with those that are to fill it.

    Raises:
        UserError: they differ.
    """
    for name in {**own, **tensors}:
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape:
            one, other = (tuple(held[name].shape) if name in held else "none" for held in (own, tensors))
            raise UserError(
                f"the network cannot start from {path}, which is of another one: its {name} is {one}, there it is "
                f"{other}: leave out what changes model.network, or start from another"
            )


def check_numbers(network: nn.Module, read: str) -> None:
    """Looks whether all weights that were read are numbers.

    Args:
        network: that has been filled.
        read: from where.

    Raises:
        UserError: some are infinite or none (NaN), as where a run has diverged.
    """
    for name, weight in network.named_parameters():
        if weight.is_floating_point() and not weight.is_meta and not weight.isfinite().all():
            raise UserError(
                f"{read} holds weights that are infinite or no numbers (NaN), such as {name}: it was written by a run "
                "that diverged, or is damaged; give an earlier checkpoint, or another"
            )
