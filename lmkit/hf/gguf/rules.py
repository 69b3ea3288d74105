"""Rules for tensors of a GGUF file that are of llama.cpp alone, beside those of `lmkit.hf.tables.rules`."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from lmkit.hf.tables.rule import Pair
from lmkit.hf.tables.rules import Rename


class PlusOne(Rename):
    """A norm's weight w where ours multiplies by 1 + w, and llama.cpp by what the file holds."""


class EachTransposed(Rename):
    """A matrix (H K, C) of ours as one of (C, K) for each head.

    Args:
        theirs: the name in the file.
        ours: the name of ours.
        rows: the number of heads.
    """

    def __init__(self, theirs: str, ours: str, rows: str) -> None:
        super().__init__(theirs, ours, rows)

    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """All heads."""
        heads, width, inputs = self.seen(ours[self.ours[0]]).shape
        return heads, inputs, width

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor]) -> Iterator[Pair]:
        """All with all, turned."""
        yield Pair(theirs, self.seen(ours[self.ours[0]]).transpose(1, 2))
