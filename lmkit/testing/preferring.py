"""The preference loss under check: completions of a batch, as a task would give them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from lmkit.losses import CHOSEN, MISMATCHED, REJECTED, Completions
from lmkit.testing.subject import Subject

OTHERS = 3
"""Completions of other prompts in a batch."""


class Preferring(Subject):
    """A class of the kind `PreferenceLoss`; see `Subject`."""

    @contextmanager
    def beside(self) -> Iterator[None]:
        """It needs nothing beside it."""
        yield

    def completions(self, pairs: int, apart: float = 0.1, dtype: torch.dtype = torch.float64) -> Completions:
        """A batch of pairs by turns, then a few of other prompts; always the same one.

        Args:
            pairs: how many.
            apart: how far the model is from the reference, in nats a token; there is one if the class needs it.
            dtype: of the log-probabilities.
        """
        draw = torch.Generator().manual_seed(5)
        roles = torch.tensor([CHOSEN, REJECTED] * pairs + [MISMATCHED] * OTHERS)
        tokens = torch.randint(4, 9, roles.shape, generator=draw)
        reference = -tokens * (1 + 0.2 * torch.rand(roles.shape, generator=draw, dtype=torch.float64))
        own = reference + apart * tokens * torch.randn(roles.shape, generator=draw, dtype=torch.float64)
        own = own.clamp(max=-0.1)
        needed = reference.to(dtype) if self.cls.needs_reference else None  # type: ignore[attr-defined]
        return Completions(own.to(dtype), tokens, needed, roles)


def chosen(completions: Completions, which: Tensor | Sequence[int]) -> Completions:
    """Some of the completions, in another order perhaps."""
    return Completions(*(None if part is None else part[which] for part in completions))  # type: ignore[arg-type]
