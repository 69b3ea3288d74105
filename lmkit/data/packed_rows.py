"""Whole examples of one piece in rows, with the tokens to predict and the number of each example in its row."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lmkit.data.examples.best_fit import best_fit
from lmkit.data.examples.store import ExampleStore
from lmkit.data.packing import IGNORE, Batch

Plan = Sequence[Sequence[int]]


class PackedRows:
    """Rows of whole examples of one piece.

    Args:
        store: of the examples.
        context: tokens a row T.
        pad: the id that fills up; it has no target, and no example sees it.
        plan: the numbers of the examples of each row; none for the best fit.

    Attributes:
        tokens: of all examples.
        filled: the share of the rows that they take.
    """

    def __init__(self, store: ExampleStore, context: int, pad: int, plan: Plan | None = None) -> None:
        self._store, self._context, self._pad = store, context, pad
        lengths = store.lengths[:, 0] - 1  # the last token is a target only
        self._plan = best_fit(lengths.tolist(), context) if plan is None else plan
        self.tokens = int(lengths.sum())
        self.filled = self.tokens / max(len(self._plan) * context, 1)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._plan)

    def batch(self, indices: Iterable[int]) -> Batch:
        """The rows of these numbers; what lies past the last one is padding."""
        rows = [self._row(self._plan[index] if index < len(self) else []) for index in indices]
        return Batch(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))

    def _row(self, examples: Sequence[int]) -> tuple[NDArray[np.int64], ...]:
        inputs = np.full(self._context, self._pad, np.int64)
        targets = np.full(self._context, IGNORE, np.int64)
        documents = np.full(self._context, len(examples), np.int64)
        start = 0
        for number, example in enumerate(examples):
            (piece,) = self._store[example]
            end = start + len(piece.ids) - 1
            inputs[start:end] = piece.ids[:-1]
            targets[start:end] = np.where(piece.trained[1:], piece.ids[1:], IGNORE)
            documents[start:end] = number
            start = end
        return inputs, targets, documents
