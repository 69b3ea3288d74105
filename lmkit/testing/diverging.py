"""The divergence under check: between distributions of a student and of a teacher."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from lmkit.testing.given import VOCABULARY
from lmkit.testing.subject import Subject


class Diverging(Subject):
    """A class of the kind `Divergence`; see `Subject`."""

    @contextmanager
    def beside(self) -> Iterator[None]:
        """It needs nothing beside it."""
        yield

    def pair(self, tokens: int = 6, spread: float = 2.0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
        """Log-probabilities (N, V) of a student and of a teacher, always the same ones.

        Args:
            tokens: N.
            spread: of the logits.
            dtype: of the log-probabilities.
        """
        draw = torch.Generator().manual_seed(7)
        logits = spread * torch.randn(2, tokens, VOCABULARY, generator=draw, dtype=torch.float64)
        student, teacher = logits.log_softmax(-1).to(dtype)
        return student, teacher
