"""Answers that belong to another question: as long as the right one, and as well known."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from lmkit.data.rows.standard_library.drawing import draw
from lmkit.data.rows.standard_library.entries import Entry
from lmkit.data.split import held_out_above

MAX_FRACTION = 0.5  # of documents held out, up to which no training pair shows one of them
MOST, LEAST = 1.25, 0.8  # times as long as the right answer


class Spoken(NamedTuple):
    """An entry and what is said of it, by whose length it is found."""

    length: int
    name: str
    text: str


class Others:
    """Finds other entries that speak at the length of a given one.

    They come from the same document, or from the next ones that would be held out if more were. So what is held out is
    in no rejected answer of a training pair; and where what is held out has texts enough, the wrong answer of a
    validation pair is held out too, since one that was trained on could be the likelier one for that alone.

    Args:
        texts: of each entry.
    """

    def __init__(self, texts: Sequence[tuple[Entry, str]]) -> None:
        above = {group: held_out_above(group) for group in {entry.group for entry, _ in texts}}
        self._order = sorted(above, key=above.__getitem__)
        self._places = {group: place for place, group in enumerate(self._order)}
        self._always = sum(fraction < MAX_FRACTION for fraction in above.values())
        self._pools: dict[tuple[str, str], list[Spoken]] = {}
        for entry, text in texts:
            self._pools.setdefault((entry.group, entry.kind), []).append(Spoken(len(text), entry.full, text))
        for pool in self._pools.values():
            pool.sort(key=_length)

    def near(self, entry: Entry, text: str, fits: Callable[[str], bool]) -> str | None:
        """The text of another of its kind that is about as long, every second time of its own document if there is one.

        Args:
            entry: that is not spoken of.
            text: what is said of it.
            fits: whether a text can stand in its place.
        """
        longer, own = (bool(draw(2, what, entry.full)) for what in ("longer", "same document"))
        for way in (longer, not longer):
            for group in islice(self._documents(entry.group), 0 if own else 1, None):
                if found := _nearest(self._pools.get((group, entry.kind), []), entry, text, fits, way):
                    return found
        return None

    def _documents(self, group: str) -> Iterator[str]:
        """A document and the next ones; behind the last, those before it that are trained on at any fraction."""
        place = self._places[group]
        yield from self._order[place:]
        yield from reversed(self._order[self._always : place])


def _nearest(pool: list[Spoken], entry: Entry, text: str, fits: Callable[[str], bool], longer: bool) -> str | None:
    """The next one that is longer, or shorter, but not by too much; of equally long ones by name."""
    place = bisect_left(pool, (len(text), entry.full), key=_length)
    for other in pool[place:] if longer else reversed(pool[:place]):
        if not LEAST <= other.length / len(text) <= MOST:
            return None
        if other.name != entry.full and fits(other.text):
            return other.text
    return None


def _length(spoken: Spoken) -> tuple[int, str]:
    return spoken.length, spoken.name
