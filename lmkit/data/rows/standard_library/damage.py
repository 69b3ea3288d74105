"""Answers that are worse than a given one: out of order, broken off, repeating themselves, with names exchanged."""

import re

from lmkit.data.rows.standard_library.drawing import draw
from lmkit.data.rows.standard_library.entries import Entry

_BETWEEN = re.compile(r"(\n\n|(?<=[.!?])\s+(?=[A-Z]))")
_WORD = re.compile(r"\S+\s*")


def shuffled(text: str, entry: Entry) -> str | None:
    """With its sentences in another order; none where there are fewer than three."""
    parts = _BETWEEN.split(text)
    said = parts[::2]
    if len(said) < 3:
        return None
    order = sorted(range(len(said)), key=lambda number: draw(1 << 32, "order", entry.full, number))
    if order == sorted(order):
        order.reverse()
    return "".join(said[order[place // 2]] if place % 2 == 0 else part for place, part in enumerate(parts)).strip()


def cut(text: str, entry: Entry) -> str | None:
    """Broken off within a sentence, after 60 to 90 % of its words; none where these are fewer than ten."""
    words = _WORD.findall(text)
    if len(words) < 10:
        return None
    kept = len(words) * (60 + draw(31, "cut", entry.full)) // 100
    return "".join(words[:kept]).rstrip(" \n.,;:")


def repeated(text: str, entry: Entry) -> str | None:
    """Going round in a circle from somewhere, until it is 10 to 40 % longer; none where it has fewer than ten words."""
    words = _WORD.findall(text)
    if len(words) < 10:
        return None
    wanted = len(text) * (110 + draw(31, "longer", entry.full)) // 100
    length = 2 + draw(5, "circle", entry.full)
    start = len(words) * (30 + draw(41, "start", entry.full)) // 100
    said = "".join(words[: start + length]).rstrip()
    circle = " ".join("".join(words[start : start + length]).split())
    while len(said) + len(circle) < wanted:
        said += f" {circle}"
    return said


def exchanged(text: str, entry: Entry) -> str | None:
    """With two of its parameters' names in one another's place; none where it does not name two."""
    within = entry.call.partition("(")[2]
    names = dict.fromkeys(name for name in re.findall(r"\w{3,}", within) if re.search(rf"\b{name}\b", text))
    if len(names) < 2:
        return None
    one, other = list(names)[:2]
    swapped = {one: other, other: one}
    return re.sub(rf"\b({one}|{other})\b", lambda match: swapped[match[1]], text)
