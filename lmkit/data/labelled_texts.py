"""Labelled texts in rows, whole ones, by best fit."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmkit.data.examples.best_fit import best_fit
from lmkit.data.examples.store import ExampleStore

NO_CLASS = -1
"""The number in place of its class for a text without a label, or with one that no text to train on has."""


class LabelledTexts(NamedTuple):
    """Texts in rows. B rows of T tokens, N texts; all int64.

    Attributes:
        inputs: token ids (B, T).
        documents: the text that each token belongs to, by its number in the row (B, T).
        ends: the last token of each text (N), by its place among all B T tokens.
        labels: the number of each text's class (N).
        examples: the number of each text in the store (N).
    """

    inputs: Tensor
    documents: Tensor
    ends: Tensor
    labels: Tensor
    examples: Tensor


class LabelledRows:
    """Rows of whole texts, by best fit.

    Args:
        store: of the texts.
        texts: the numbers of those that are read.
        context: tokens a row T.
        pad: the id that fills up; no text sees it.

    Attributes:
        tokens: of all texts.
        filled: the share of the rows that they take.
    """

    def __init__(self, store: ExampleStore, texts: NDArray[np.int64], context: int, pad: int) -> None:
        self._store, self._context, self._pad = store, context, pad
        lengths = store.lengths[texts, 0]
        self._plan = [texts[row].tolist() for row in best_fit(lengths.tolist(), context)]
        self.tokens = int(lengths.sum())
        self.filled = self.tokens / max(len(self._plan) * context, 1)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self._plan)

    def batch(self, indices: Iterable[int]) -> LabelledTexts:
        """The rows of these numbers; what lies past the last one is padding."""
        plans = [self._plan[index] if index < len(self) else [] for index in indices]
        inputs = np.full((len(plans), self._context), self._pad, np.int64)
        documents = np.zeros_like(inputs)
        ends, examples = list[int](), list[int]()
        for row, texts in enumerate(plans):
            start = 0
            for number, text in enumerate(texts):
                (piece,) = self._store[text]
                end = start + len(piece.ids)
                inputs[row, start:end], documents[row, start:end] = piece.ids, number
                ends.append(row * self._context + end - 1)
                examples.append(text)
                start = end
            documents[row, start:] = len(texts)
        read = np.array(examples, np.int64)
        labels = self._store.numbers[read, 0].astype(np.int64)
        return LabelledTexts(*map(torch.from_numpy, (inputs, documents, np.array(ends, np.int64), labels, read)))
