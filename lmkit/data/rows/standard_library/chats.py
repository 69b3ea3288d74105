"""Conversations about the standard library: what is asked of a function, and what its documentation answers."""

from collections import Counter
from collections.abc import Iterator

from lmkit.data.rows.kinds import Row
from lmkit.data.rows.standard_library import questions
from lmkit.data.rows.standard_library.drawing import choose, draw
from lmkit.data.rows.standard_library.entries import Entry, entries
from lmkit.data.rows.standard_library.kind import OfStandardLibrary, checked
from lmkit.data.rows.standard_library.questions import Exchange
from lmkit.data.rows.standard_library.wording import first_sentence

Messages = list[dict[str, str]]

_SYSTEMS = (
    "You answer questions about Python's standard library.",
    "You know the documentation of Python's standard library. Answer by it.",
    "You are a helpful assistant for programmers who use Python.",
    "Answer questions about Python's modules, functions and classes.",
)
_BRIEF = ("Answer in one sentence.", "You answer questions about Python in a single sentence.", "Be brief.")
_THEN_WHAT = ("What does it do?", "And what does it do?", "Tell me more about it.")


class StandardLibraryChats(OfStandardLibrary):
    """Questions and answers about Python's standard library, as OpenAI's `messages`: what something does, how it is
    called, which function does something, where it is; some in several turns, some with a system's.

    Args:
        max_answer: Characters; a longer docstring is shortened to whole paragraphs, or to whole sentences of its first.
    """

    def __init__(self, max_answer: int = 600) -> None:
        self.max_answer = checked(max_answer, "max_answer")

    def rows(self) -> Iterator[Row]:
        """Yields the conversations, sorted by the modules' paths; those about one thing stand together."""
        found = entries()
        described = Counter(questions.described(entry) for entry in found)
        for entry in found:
            is_one = described[questions.described(entry)] == 1
            for number, messages in enumerate(self._conversations(entry, is_one), 1):
                yield Row({"messages": messages}, f"{entry.full}, conversation {number}", entry.group)

    def _conversations(self, entry: Entry, is_one: bool) -> Iterator[Messages]:
        """Those about one entry, which a hash of its name gives their form."""
        what, call = questions.what(entry, self.max_answer), questions.call(entry)
        then = questions.call(entry, further=True)
        form = draw(8, "form", entry.full)
        if form == 0:
            yield _messages(what._replace(answer=questions.briefly(entry)), system=choose(_BRIEF, "brief", entry.full))
        elif form <= 2 and then:
            call = None
            yield _messages(what, then, system=_system(entry, "what"))
        else:
            yield _messages(what, system=_system(entry, "what"))
        if call:
            yield _messages(call, system=_system(entry, "call"))
        if is_one and (which := questions.which(entry)):
            further = draw(4, "further", entry.full) == 0 and what.answer.rstrip(".") != first_sentence(entry.doc)
            more = [Exchange(choose(_THEN_WHAT, "then", entry.full), what.answer)] if further else []
            yield _messages(which, *more, system=_system(entry, "which"))
        if (where := questions.where(entry)) and draw(2, "where", entry.full):
            yield _messages(where)


def _messages(*exchanges: Exchange, system: str | None = None) -> Messages:
    messages = [] if system is None else [{"role": "system", "content": system}]
    for question, answer in exchanges:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return messages


def _system(entry: Entry, question: str) -> str | None:
    """A system's turn for one conversation in five."""
    return None if draw(5, "system", question, entry.full) else choose(_SYSTEMS, question, entry.full)
