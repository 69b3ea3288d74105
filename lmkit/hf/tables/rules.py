"""How a tensor of a Hugging Face file is one or several of ours: four rules, each written once and read both ways.

A rule pairs parts of a file's tensor with parts of ours, as views of both. To import is to copy from the first to the
second, to export is to copy back, so that no rule is ever inverted by hand and a tensor is exactly what it was.

In a name, `{n}` stands for a layer's number, `{h}` for a head's, `{e}` for an expert's, `*` for the last part, `weight`
or `bias`, and `{all}` for all of it.
"""

from collections.abc import Iterator, Mapping
from typing import Self

from torch import Tensor

from lmkit.hf.tables.rule import Pair, Rule, Sizes


class Rename(Rule):
    """The same tensor by another name.

    Args:
        theirs: the name in the file; unused within a `Split`.
        ours: the name of ours.
        rows: the number of equal parts, such as experts, in which a vector of ours is a matrix in the file.
    """

    def __init__(self, theirs: str, ours: str, rows: str | None = None) -> None:
        self.theirs, self.ours, self.rows = theirs, (ours,), rows

    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """Ours, as it lies in the file."""
        return tuple(self.seen(ours[self.ours[0]]).shape)

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor]) -> Iterator[Pair]:
        """All with all."""
        yield Pair(theirs, self.seen(ours[self.ours[0]]))

    @property
    def same(self) -> bool:
        """See `Rule`; not of what is derived from this one."""
        return type(self) is Rename and self.rows is None

    def seen(self, ours: Tensor) -> Tensor:
        """Ours as it lies in the file."""
        return ours.unflatten(0, (self.sizes[self.rows], -1)) if self.rows else ours

    def ordered(self, theirs: Tensor, ours: Tensor) -> Iterator[Pair]:
        """Which of the file's rows are which of ours, both in groups (G, rows, ...)."""
        yield Pair(theirs, ours)


class Transpose(Rename):
    """A matrix, or one for each expert, whose last two dimensions are swapped; vectors are as they are.

    With `rotated` it is not the matrix that is transposed but the order of its last rows: numbers that are rotated
    together lie side by side in the file, as (R / 2, 2), and half of R apart in ours, as (2, R / 2).

    Args:
        theirs: the name in the file; unused within a `Split`.
        ours: the name of ours.
        rotated: the size R; none for the whole matrix, transposed.
        heads: the number of equal parts of the rows, each of which ends by such R rows; none for 1.
    """

    def __init__(self, theirs: str, ours: str, rotated: str | None = None, heads: str | None = None) -> None:
        super().__init__(theirs, ours)
        self.rotated, self.heads = rotated, heads

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor]) -> Iterator[Pair]:
        """All with all, turned or in their order."""
        groups, mine = self.sizes[self.heads] if self.heads else 1, self.seen(ours[self.ours[0]])
        yield from self.ordered(theirs.unflatten(0, (groups, -1)), mine.unflatten(0, (groups, -1)))

    def seen(self, ours: Tensor) -> Tensor:
        """Turned, unless its rows are."""
        return ours if self.rotated or ours.dim() < 2 else ours.transpose(-1, -2)

    def ordered(self, theirs: Tensor, ours: Tensor) -> Iterator[Pair]:
        """The rows that are not rotated as they are, then the others (G, R, ...) by pairs."""
        if self.rotated is None:
            yield Pair(theirs, ours)
            return
        width = self.sizes[self.rotated]
        left = ours.size(1) - width
        yield Pair(theirs[:, :left], ours[:, :left])
        side_by_side, apart = theirs[:, left:].unflatten(1, (-1, 2)), ours[:, left:].unflatten(1, (2, -1))
        yield Pair(side_by_side.transpose(1, 2), apart)


class Split(Rule):
    """Several of ours that lie one after another in one tensor of the file.

    Args:
        theirs: the name in the file.
        parts: our names in their order, or a `Rename` or `Transpose` each.
        along: the dimension of the file's tensor; of a vector always its only one.
        groups: the number of equal parts, such as `heads`, in each of which ours lie one after another; none for 1.
    """

    def __init__(self, theirs: str, *parts: str | Rename, along: int = 0, groups: str | None = None) -> None:
        self.theirs, self.along, self.groups = theirs, along, groups
        self.parts = [Rename(theirs, part) if isinstance(part, str) else part for part in parts]
        self.ours = tuple(name for part in self.parts for name in part.ours)

    def bound(self, names: Mapping[str, str], sizes: Sizes) -> Self:
        """The same for its parts."""
        filled = super().bound(names, sizes)
        filled.parts = [part.bound(names, sizes) for part in self.parts]
        return filled

    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """All of ours together."""
        shapes = [list(part.shape(ours)) for part in self.parts]
        along = self._dimension(len(shapes[0]))
        return (*shapes[0][:along], sum(shape[along] for shape in shapes), *shapes[0][along + 1 :])

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor]) -> Iterator[Pair]:
        """Each of ours with its part."""
        groups, along, start = self.sizes[self.groups] if self.groups else 1, self._dimension(theirs.dim()), 0
        grouped = theirs.unflatten(along, (groups, -1))  # (..., G, rows of a group, ...)
        for part in self.parts:
            mine = part.seen(ours[part.ours[0]]).unflatten(along, (groups, -1))
            size = mine.size(along + 1)
            yield from part.ordered(grouped.narrow(along + 1, start, size), mine)
            start += size

    def _dimension(self, dimensions: int) -> int:
        return 0 if dimensions == 1 else self.along % dimensions


class Stack(Rule):
    """One of ours (E, ...) whose entries are tensors of their own in the file, `{e}` in whose names counts them.

    Args:
        theirs: the name in the file.
        ours: the name of ours.
    """

    entry = 0

    def __init__(self, theirs: str, ours: str) -> None:
        self.theirs, self.ours = theirs, (ours,)

    def entry_of(self, entry: int) -> Self:
        """The rule for one entry."""
        filled = self.bound({"{e}": str(entry)}, self.sizes)
        filled.entry = entry
        return filled

    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """That of an entry."""
        return tuple(ours[self.ours[0]].shape[1:])

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor]) -> Iterator[Pair]:
        """All with the entry."""
        yield Pair(theirs, ours[self.ours[0]][self.entry])
