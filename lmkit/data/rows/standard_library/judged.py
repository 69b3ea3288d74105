"""Answers about the standard library that are each called good or bad, without another to compare with."""

from collections.abc import Iterator

from lmkit.data.rows.kinds import Row
from lmkit.data.rows.standard_library.kind import OfStandardLibrary, checked
from lmkit.data.rows.standard_library.pairs import StandardLibraryPairs


class StandardLibraryJudged(OfStandardLibrary):
    """The answers of `StandardLibraryPairs`, each by itself: `prompt` and `completion`, lists of messages, and `label`,
    whether the answer is the right one.

    Args:
        max_answer: Characters; a longer docstring is shortened to whole paragraphs, or to whole sentences of its first.
    """

    def __init__(self, max_answer: int = 600) -> None:
        self.max_answer = checked(max_answer, "max_answer")

    def rows(self) -> Iterator[Row]:
        """Yields the answers, of each pair the right one first."""
        for row in StandardLibraryPairs(self.max_answer).rows():
            for name in ("chosen", "rejected"):
                values = {"prompt": row.values["prompt"], "completion": row.values[name], "label": name == "chosen"}
                yield Row(values, f"{row.where}, {name}", row.group)
