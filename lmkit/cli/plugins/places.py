"""Where a recipe names a part: found in the signatures, from tasks and data down to the parts of parts."""

import heapq
import inspect
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from lmkit.cli.plugins.describe import usable
from lmkit.data.conversations import RowFormat
from lmkit.data.conversations.finding import READERS
from lmkit.data.text import Text
from lmkit.kinds import KINDS, hints, leaves
from lmkit.tasks import Pretraining

TOPS: tuple[tuple[str, str, type], ...] = (("model", "task", Pretraining), ("data", "data", Text))
"""Where a recipe begins: its key, the kind that is named there, and the class that recipes usually have."""

Path = tuple[tuple[str, type | None], ...]


class Place(NamedTuple):
    """A parameter that takes a part.

    Attributes:
        path: keys from the top of the recipe, each with the class to choose there if the usual one lacks the next key.
        given: how many of the part's first parameters are given there.
        listed: whether it takes a list of such parts.
        rank: less is better: made for this class alone, within usual classes, near the top.
    """

    path: Path
    given: int
    listed: bool
    rank: tuple[bool, int, int]


def find(cls: type) -> Place | None:
    """The best place for a class; none if no task or data that is known has one."""
    places = [place for place in _places(cls) if _works(cls, place.path)]
    return min(places, key=lambda place: place.rank, default=None)


def _works(cls: type, path: Path) -> bool:
    """Whether a class does there what it is for."""
    if issubclass(cls, RowFormat):
        (_, data), *_ = path
        reader = READERS.get(getattr(cls, "gives", object))
        return data is not None and reader is not None and data.__name__ == reader[0]
    return not reads_memory(cls) or _in_decoder(path)


def reads_memory(cls: type) -> bool:
    """Whether a class works below an `EncoderDecoder` only."""
    return getattr(cls, "reads_memory", False)


def _in_decoder(path: Path) -> bool:
    return any(key == "decoder" for key, _ in path)


def choices(asked: Any) -> list[type]:
    """The classes that may stand where a class of a kind is asked for, that one first."""
    for kind in KINDS.values():
        if isinstance(asked, type) and issubclass(asked, kind.base):
            return sorted(
                (cls for cls in usable(kind.base) if issubclass(cls, asked)), key=lambda cls: cls is not asked
            )
    return []


def _places(cls: type) -> Iterator[Place]:
    """All places that take a class, by way of as few unusual classes as there can be."""
    numbers, seen = count(), set[tuple[type, bool]]()
    waiting: list[tuple[int, int, int, Path, type]] = []
    for key, kind, expected in TOPS:
        for top in usable(KINDS[kind].base):
            usual = top is expected
            heapq.heappush(waiting, (int(not usual), 1, next(numbers), ((key, None if usual else top),), top))
    while waiting:
        unusual, depth, _, path, owner = heapq.heappop(waiting)
        if (state := (owner, _in_decoder(path))) in seen:
            continue
        seen.add(state)
        for name, leaf, default in _parameters(owner):
            found = choices(leaf.cls)
            if cls in found:
                rank = (leaf.cls is not cls, unusual, depth)
                yield Place((*path, (name, None)), leaf.given, leaf.within is list, rank)
            for choice in found if leaf.within is None else ():
                usual = choice is (default if default in found else found[0])
                step = (name, None if usual else choice)
                heapq.heappush(waiting, (unusual + (not usual), depth + 1, next(numbers), (*path, step), choice))


def _parameters(owner: type) -> Iterator[tuple[str, Any, Any]]:
    """Each parameter of a class that a recipe may say, with a class that it takes, and its default."""
    types, given = hints(owner), next((kind.given for kind in KINDS.values() if issubclass(owner, kind.base)), ())
    for name, parameter in inspect.signature(owner).parameters.items():
        if name in given:
            continue
        for leaf in leaves(types.get(name)):
            if leaf.within in (None, list):
                yield name, leaf, parameter.default
