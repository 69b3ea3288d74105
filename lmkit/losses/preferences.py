"""Preferences: what a loss sees of completions that somebody has compared or judged, and the kind of such losses."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor

from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.errors import UserError
from lmkit.losses.chunks import wide


class Completions(NamedTuple):
    """The completions of a batch in any order; the i-th of the chosen and the i-th of the rejected are a pair.

    Attributes:
        log_probabilities: (C,) by the model that learns, in nats, summed over a completion's tokens.
        tokens: (C,) how many those are.
        reference: (C,) the same sums by the reference model; none if there is none.
        roles: (C,) `CHOSEN`, `REJECTED` or `MISMATCHED`.
        divergence: the mean log-ratio of those that are mismatched, on all ranks; none for that of these here.
    """

    log_probabilities: Tensor
    tokens: Tensor
    reference: Tensor | None
    roles: Tensor
    divergence: Tensor | None = None

    def log_ratios(self) -> Tensor:
        """How much more probable each is (C,) than by the reference model, in nats.

        Raises:
            UserError: there is no reference model.
        """
        if self.reference is None:
            raise UserError(
                "the loss compares with a reference model, and the completions come without log-probabilities of one: "
                "give a reference, or choose a loss that needs none, such as SimPO"
            )
        return wide(self.log_probabilities) - self.reference

    def means(self, values: Tensor) -> Tensor:
        """Sums over tokens (C,) as means over the tokens of each."""
        return wide(values) / self.tokens.clamp(min=1)

    def pairs(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Of values (C,) those of the chosen and those of the rejected, each (P,), pair by pair.

        Raises:
            UserError: there are not as many of both.
        """
        chosen, rejected = (wide(values)[self.roles == role] for role in (CHOSEN, REJECTED))
        if len(chosen) != len(rejected):
            raise UserError(
                f"{len(chosen)} chosen and {len(rejected)} rejected completions are no pairs: give one rejected for "
                "each chosen, or choose a loss that takes them by themselves, such as KTO"
            )
        return chosen, rejected


class PreferenceLoss(ABC):
    """A kind: a loss of completions that were preferred or rejected.

    Attributes:
        needs_reference: whether it compares with a reference model.
        paired: whether a chosen completion has a rejected one; otherwise there may be any number of either.
        needs_mismatched: whether it needs completions of other prompts; others take no notice of them.
    """

    needs_reference: ClassVar[bool] = False
    paired: ClassVar[bool] = True
    needs_mismatched: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,), or, unpaired, for each that is chosen or rejected, in their order (N,).

        Their mean is the loss of a batch.
        """

    @abstractmethod
    def rewards(self, completions: Completions) -> Tensor:
        """The reward (C,) of each that the model stands for, without gradients, to be logged."""
