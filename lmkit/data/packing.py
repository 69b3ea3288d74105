"""Rows: a token store cut into sequences of `context` tokens, with the tokens to predict and the document ids."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmkit.data.store import TokenStore
from lmkit.errors import UserError

IGNORE = -100  # a target that is not predicted; the default `ignore_index` of torch's cross entropy


class Batch(NamedTuple):
    """Rows of tokens, int64 of shape (B, T).

    `targets` are the tokens that follow `inputs`, IGNORE where there is none. `documents` numbers the documents within
    each row, where attention must not cross them; the end-of-document token belongs to the document that it opens.
    """

    inputs: Tensor
    targets: Tensor
    documents: Tensor | None


class Rows:
    """Row r holds tokens [r * context, r * context + context]; the shared last one makes each a target exactly once."""

    def __init__(self, store: TokenStore, context: int, separate: bool) -> None:
        """`context` is T, the tokens a row; `separate` gives the document ids.

        Raises:
            UserError: context is not positive.
        """
        if context < 1:
            raise UserError(f"context {context} needs to be at least 1 token a row")
        self._store, self._context, self._separate = store, context, separate

    def __len__(self) -> int:
        """How many rows the store fills, the last one perhaps in part."""
        return math.ceil((len(self._store) - 1) / self._context)

    def batch(self, indices: Iterable[int]) -> Batch:
        """The rows of these numbers; what lies past the end of the store is padding, whole rows too."""
        rows = [self._row(index) for index in indices]
        inputs, targets = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        documents = (inputs == self._store.end_of_document).cumsum(dim=1) if self._separate else None  # (B, T)
        return Batch(inputs, targets, documents)

    def _row(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        inputs = np.full(self._context, self._store.end_of_document, np.int64)
        targets = np.full(self._context, IGNORE, np.int64)
        start = index * self._context
        stop = min(start + self._context + 1, len(self._store))
        if start < stop:
            tokens = self._store.read(start, stop)
            inputs[: len(tokens) - 1], targets[: len(tokens) - 1] = tokens[:-1], tokens[1:]
        return inputs, targets
