"""Answers that belong to another question: as long as the right one, and never one that is held out from training."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lmkit.data.rows.standard_library.drawing import draw
from lmkit.data.rows.standard_library.entries import Entry
from lmkit.data.split import is_validation

MAX_FRACTION = 0.5  # of documents held out, up to which no training pair shows one of them


class Spoken(NamedTuple):
    """An entry and what is said of it, by whose length it is found."""

    length: int
    name: str
    text: str


class Others:
    """Finds other entries that speak at the length of a given one.

    They come from the same document, or from one that is trained on at any fraction held out up to `MAX_FRACTION`:
    so what is held out is in no rejected answer of a training pair.

    Args:
        texts: of each entry.
    """

    def __init__(self, texts: Sequence[tuple[Entry, str]]) -> None:
        always = {group: not is_validation(group, MAX_FRACTION) for group in {entry.group for entry, _ in texts}}
        self._pools: dict[tuple[str, str], list[Spoken]] = {}
        for entry, text in texts:
            spoken = Spoken(len(text), entry.full, text)
            for group in (entry.group, *([""] if always[entry.group] else [])):
                self._pools.setdefault((group, entry.kind), []).append(spoken)
        for pool in self._pools.values():
            pool.sort(key=_length)

    def near(self, entry: Entry, text: str, fits: Callable[[str], bool]) -> str | None:
        """The text of another of its kind that is about as long, every second time of its own document if there is one.

        Args:
            entry: that is not spoken of.
            text: what is said of it.
            fits: whether a text can stand in its place.
        """
        longer = bool(draw(2, "longer", entry.full))
        if draw(2, "same document", entry.full):
            found = self._nearest(self._pools[entry.group, entry.kind], entry, text, fits, longer)
            if found and 0.8 <= len(found) / len(text) <= 1.25:
                return found
        return self._nearest(self._pools.get(("", entry.kind), []), entry, text, fits, longer)

    def _nearest(
        self, pool: list[Spoken], entry: Entry, text: str, fits: Callable[[str], bool], longer: bool
    ) -> str | None:
        """The next one that is longer, or shorter; the other way where there is none; equally long ones by name."""
        place = bisect_left(pool, (len(text), entry.full), key=_length)
        ways = [range(place, len(pool)), range(place - 1, -1, -1)]
        for way in ways if longer else reversed(ways):
            for number in way:
                if pool[number].name != entry.full and fits(pool[number].text):
                    return pool[number].text
        return None


def _length(spoken: Spoken) -> tuple[int, str]:
    return spoken.length, spoken.name
