"""What all rules of a file's tensors are: a name there, names of ours, and which numbers are the same."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from torch import Tensor

Sizes = Mapping[str, int]
"""Numbers of the network that a rule may name, such as `heads`."""


Condition = Callable[[Mapping[str, Any]], bool]


class Pair(NamedTuple):
    """Two views that hold the same numbers, one of a file's tensor and one of ours."""

    theirs: Tensor
    ours: Tensor


class Rule(ABC):
    """How one tensor of a file is made.

    Attributes:
        theirs: the name in the file.
        ours: the names of our tensors.
        holds: of the parts of a layer, whether the rule is for it.
        sizes: the network's numbers that it may name, once it is bound to a layer.
    """

    theirs: str
    ours: tuple[str, ...]
    holds: Condition = staticmethod(lambda parts: True)
    sizes: Sizes = MappingProxyType({})

    def bound(self, names: Mapping[str, str], sizes: Sizes) -> Self:
        """The same with what stands for names filled in."""
        filled = copy(self)
        filled.theirs, *ours = (_filled(name, names) for name in (self.theirs, *self.ours))
        filled.ours, filled.sizes = tuple(ours), sizes
        return filled

    @property
    def same(self) -> bool:
        """Whether the file's tensor is one of ours as it stands."""
        return False

    @abstractmethod
    def shape(self, ours: Mapping[str, Tensor]) -> tuple[int, ...]:
        """The shape in the file of a tensor made of ours."""

    @abstractmethod
    def pairs(self, theirs: Tensor, ours: Mapping[str, Tensor]) -> Iterator[Pair]:
        """Which numbers of the file's tensor are which of ours."""


def _filled(name: str, names: Mapping[str, str]) -> str:
    for sign, meant in names.items():
        name = name.replace(sign, meant)
    return name
