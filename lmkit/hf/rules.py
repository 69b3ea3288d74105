"""How a tensor of a Hugging Face file is one or several of ours: four rules, each written once and read both ways.

A rule pairs parts of a file's tensor with parts of ours, as views of both. To import is to copy from the first to the
second, to export is to copy back, so that no rule is ever inverted by hand and a tensor is exactly what it was.

In a name, `{n}` stands for a layer's number, `{e}` for an expert's, and `*` for the last part, `weight` or `bias`.
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from typing import NamedTuple, Self

from torch import Tensor

from lmkit.errors import UserError

Sizes = Mapping[str, int]
"""Numbers of the network that a rule may name, such as `heads`."""


class Pair(NamedTuple):
    """Two views that hold the same numbers, one of a file's tensor and one of ours."""

    theirs: Tensor
    ours: Tensor


class Rule(ABC):
    """How one tensor of a file is made.

    Attributes:
        theirs: the name in the file.
        ours: the names of our tensors.
        layer: the number that stands for `{n}`, once it is filled in; none if it has none.
    """

    theirs: str
    ours: tuple[str, ...]
    layer: int | None = None

    def named(self, names: Mapping[str, str]) -> Self:
        """The same with what stands for names filled in."""
        filled = copy(self)
        filled.theirs, *ours = (_filled(name, names) for name in (self.theirs, *self.ours))
        filled.ours = tuple(ours)
        return filled

    @abstractmethod
    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """The shape in the file of a tensor made of ours."""

    @abstractmethod
    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor], sizes: Sizes) -> Iterator[Pair]:
        """Which numbers of the file's tensor are which of ours."""


class Rename(Rule):
    """The same tensor by another name."""

    def __init__(self, theirs: str, ours: str) -> None:
        self.theirs, self.ours = theirs, (ours,)

    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """Ours, as it lies in the file."""
        return tuple(self.seen(ours[self.ours[0]]).shape)

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor], sizes: Sizes) -> Iterator[Pair]:
        """All with all."""
        yield Pair(theirs, self.seen(ours[self.ours[0]]))

    def seen(self, ours: Tensor) -> Tensor:
        """Ours as it lies in the file."""
        return ours

    def ordered(self, theirs: Tensor, ours: Tensor, sizes: Sizes) -> Iterator[Pair]:
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

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor], sizes: Sizes) -> Iterator[Pair]:
        """All with all, turned or in their order."""
        groups, mine = sizes[self.heads] if self.heads else 1, self.seen(ours[self.ours[0]])
        yield from self.ordered(theirs.unflatten(0, (groups, -1)), mine.unflatten(0, (groups, -1)), sizes)

    def seen(self, ours: Tensor) -> Tensor:
        """Turned, unless its rows are."""
        return ours if self.rotated or ours.dim() < 2 else ours.transpose(-1, -2)

    def ordered(self, theirs: Tensor, ours: Tensor, sizes: Sizes) -> Iterator[Pair]:
        """The rows that are not rotated as they are, then the others (G, R, ...) by pairs."""
        if self.rotated is None:
            yield Pair(theirs, ours)
            return
        width = sizes[self.rotated]
        left = ours.size(1) - width
        yield Pair(theirs[:, :left], ours[:, :left])
        side_by_side, apart = theirs[:, left:].unflatten(1, (-1, 2)), ours[:, left:].unflatten(1, (2, -1))
        yield Pair(side_by_side.transpose(1, 2), apart)


class Split(Rule):
    """Several of ours that lie one after another in one tensor of the file.

    Args:
        theirs: the name in the file.
        parts: our names in their order, or a `Transpose` each.
        along: the dimension of the file's tensor; of a vector always its only one.
        groups: the number of equal parts, such as `heads`, in each of which ours lie one after another; none for 1.
    """

    def __init__(self, theirs: str, *parts: str | Transpose, along: int = 0, groups: str | None = None) -> None:
        self.theirs, self.along, self.groups = theirs, along, groups
        self.parts = [Rename(theirs, part) if isinstance(part, str) else part for part in parts]
        self.ours = tuple(name for part in self.parts for name in part.ours)

    def named(self, names: Mapping[str, str]) -> Self:
        """The same for its parts."""
        filled = super().named(names)
        filled.parts = [part.named(names) for part in self.parts]
        return filled

    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """All of ours together."""
        shapes = [list(part.shape(ours)) for part in self.parts]
        along = self._dimension(len(shapes[0]))
        return (*shapes[0][:along], sum(shape[along] for shape in shapes), *shapes[0][along + 1 :])

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor], sizes: Sizes) -> Iterator[Pair]:
        """Each of ours with its part."""
        groups, along, start = sizes[self.groups] if self.groups else 1, self._dimension(theirs.dim()), 0
        grouped = theirs.unflatten(along, (groups, -1))  # (..., G, rows of a group, ...)
        for part in self.parts:
            mine = part.seen(ours[part.ours[0]]).unflatten(along, (groups, -1))
            size = mine.size(along + 1)
            yield from part.ordered(grouped.narrow(along + 1, start, size), mine, sizes)
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
        filled = self.named({"{e}": str(entry)})
        filled.entry = entry
        return filled

    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """That of an entry."""
        return tuple(ours[self.ours[0]].shape[1:])

    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor], sizes: Sizes) -> Iterator[Pair]:
        """All with the entry."""
        yield Pair(theirs, ours[self.ours[0]][self.entry])


def bind(rules: Iterable[Rule], ours: Mapping[str, Tensor]) -> list[Rule]:
    """The rules for each of our tensors, their names filled in.

    Args:
        rules: of a family.
        ours: the network's tensors by name, which may be on the meta device.

    Raises:
        UserError: one of ours is told by no rule, or by several.
    """
    bound = [entry for rule in rules for entry in _bound(rule, ours)]
    told = Counter(name for rule in bound for name in rule.ours if not isinstance(rule, Stack) or rule.entry == 0)
    if untold := [name for name in ours if told[name] != 1]:
        raise UserError(
            f"the tensor {untold[0]} of the network is told by {told[untold[0]]} rules of the family, which needs one: "
            "this is a defect of the family's table, or its config.json does not say what its files hold"
        )
    if missing := [(rule, name) for rule in bound for name in rule.ours if name not in ours]:
        rule, name = missing[0]
        raise UserError(f"the network has no tensor {name}, which {rule.theirs} of the file is made of")
    return bound


def _bound(rule: Rule, ours: Mapping[str, Tensor]) -> Iterator[Rule]:
    """A rule for each of our tensors that its first name fits."""
    pattern = re.escape(rule.ours[0]).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\*", "(?P<last>weight|bias)")
    for name, tensor in ours.items():
        if not (found := re.fullmatch(pattern, name)):
            continue
        filled = rule.named({"{n}": found.groupdict().get("n", ""), "*": found.groupdict().get("last", "")})
        filled.layer = int(found["n"]) if "n" in found.groupdict() else None
        if isinstance(filled, Stack):
            yield from (filled.entry_of(entry) for entry in range(len(tensor)))
        else:
            yield filled


def _filled(name: str, names: Mapping[str, str]) -> str:
    for sign, meant in names.items():
        name = name.replace(sign, meant)
    return name
