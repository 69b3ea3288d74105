"""Preferences about the standard library: the documentation of what was asked about, and an answer that is worse."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from operator import ne

from lmkit.data.rows.kinds import Row
from lmkit.data.rows.standard_library import damage, questions
from lmkit.data.rows.standard_library.drawing import draw
from lmkit.data.rows.standard_library.entries import Entry, entries
from lmkit.data.rows.standard_library.kind import OfStandardLibrary, checked
from lmkit.data.rows.standard_library.wrong import Others

_DAMAGES: tuple[tuple[Callable[[str, Entry], str | None], ...], ...] = (
    (damage.cut,),
    (damage.repeated,),
    (damage.shuffled, damage.exchanged),
    (damage.exchanged, damage.shuffled),
)
"""What is tried by turns; the shorter and the longer answers that the first two make are as many."""


class StandardLibraryPairs(OfStandardLibrary):
    """Pairs of answers to questions about Python's standard library: `prompt`, `chosen` and `rejected`, each a list of
    messages. Rejected is what is said of another function, or the right answer out of order, broken off, going round
    in a circle, or with names exchanged; it is as often longer as it is shorter.

    Args:
        max_answer: Characters; a longer docstring is shortened to whole paragraphs, or to whole sentences of its first.
    """

    def __init__(self, max_answer: int = 600) -> None:
        self.max_answer = checked(max_answer, "max_answer")

    def rows(self) -> Iterator[Row]:
        """Yields the pairs, sorted by the modules' paths."""
        for entry, where, question, chosen, rejected in self._pairs():
            prompt = [{"role": "user", "content": question}]
            answers = {"chosen": chosen, "rejected": rejected}
            values = {name: [{"role": "assistant", "content": answer}] for name, answer in answers.items()}
            yield Row({"prompt": prompt, **values}, where, entry.group)

    def _pairs(self) -> Iterator[tuple[Entry, str, str, str, str]]:
        found = entries()
        answered = [(entry, questions.what(entry, self.max_answer)) for entry in found]
        others = Others([(entry, what.answer) for entry, what in answered])
        taken = Others([(entry, _parameters(entry)) for entry in found if _parameters(entry)])
        for entry, (question, answer) in answered:
            rejected = _damaged(answer, entry) or others.near(entry, answer, partial(ne, answer))
            if rejected:
                yield entry, f"{entry.full}, what", question, answer, rejected
            own, call = _parameters(entry), questions.call(entry)
            if call and own and (foreign := taken.near(entry, own, partial(_is_foreign, own))):
                wrong = call.answer.replace(f"({own})", f"({foreign})", 1)
                yield entry, f"{entry.full}, call", call.question, call.answer, wrong


def _damaged(answer: str, entry: Entry) -> str | None:
    """The answer damaged, for every second entry where that can be done."""
    number = draw(2 * len(_DAMAGES), "damage", entry.full)
    tried = _DAMAGES[number] if number < len(_DAMAGES) else ()
    return next((made for harm in tried if (made := harm(answer, entry)) not in (None, answer)), None)


def _parameters(entry: Entry) -> str:
    """What it takes; empty where that is nothing, or not known."""
    return entry.call.partition("(")[2].removesuffix(")")


def _is_foreign(own: str, other: str) -> bool:
    """Whether other parameters have a name that its own ones do not have."""
    return bool(_names(other) - _names(own))


def _names(parameters: str) -> set[str]:
    return set(re.findall(r"[a-z]\w*", parameters))
