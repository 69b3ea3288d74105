"""Filters: an answer for any text, which no other document has a part in, and reasons that can be counted."""

from lmkit.data.corpus import Document, Filter, Rejected
from lmkit.testing.from_file import FromFile
from lmkit.testing.results import Failed, NotApplicable, clean, counted
from lmkit.testing.suite import check
from lmkit.testing.toys import generators, same_generators, seed

KIND = (Filter,)

PARAGRAPHS = "It was late when they came home.\n\nNobody had left a light on, and the stairs were cold.\n"
TEXTS = {
    "an empty text": "",
    "white space": " \n\t\r\n \u2028\u3000\n",
    "one letter": "a",
    "two paragraphs": PARAGRAPHS,
    "the same paragraphs again": PARAGRAPHS,
    "lines that repeat": "Home\nAbout us\nHome\nHome\nAbout us\n" * 20,
    "a line of 200,000 letters": "letters" * 28_572,
    "a line of 40,000 words": "some words " * 20_000,
    "other scripts": "Größe, 日本語の文章。 עברית ערבית हिन्दी ไทย 🙂👩‍👩‍👧 e\u0301\u200f\ufeff\ufffd",
    "control characters": "a\x00b\x1b[0mc\x7f\r\rd\x0b\x0ce\x85f",
    "code": "def f(x):\n\treturn {k: v for k, v in x}  # {{ not jinja }} <b>&amp;</b> \\d+(.*)* %s\n",
    "numbers": "3.14 1e-9 0x1F 1,000,000 -5\n" * 4,
    "JSON": '{"text": "lorem ipsum", "javascript": [1, null, "terms of use"]}\n',
}
"""By what they are."""

SERIES = (
    [f"word{n} " * 30 for n in range(8)],
    ["the same line\n" * n for n in range(20, 28)],
    ["x" * n for n in range(1, 9)],
    ["!? " * n for n in range(50, 58)],
    ["A sentence of a text that is like any other. " * n for n in range(1, 9)],
)
"""Texts that are rejected, if at all, for one reason each, though their figures differ."""


@check(
    "answers", KIND, "give the document, `document._replace(text=...)` or `Rejected(reason)`, for any text", runs=True
)
def answers(subject: FromFile) -> str | None:
    """Empty, long and odd texts too; a reason is one line."""
    counts = {"kept": 0, "changed": 0, "rejected": 0}
    with subject.beside():
        keep: Filter = subject.make()
        for what, text in TEXTS.items():
            try:
                found = keep(Document("the kit's", text))
            except Exception as error:
                raise Failed(f"{what} stops it ({clean(error)})") from error
            counts[_look(found, text, what)] += 1
    return ", ".join(f"{number} {done}" for done, number in counts.items())


@check("no memory", KIND, "decide by this document alone, draw nothing, and keep nothing of it in the filter")
def no_memory(subject: FromFile) -> str | None:
    """The same answers once more, in another order, by a fresh filter, and whatever the seeds."""
    with subject.beside():
        one, other = subject.make(), subject.make()
        texts = [*TEXTS.items()]
        first = _answers(one, texts, 0)
        for keep, order, what in (
            (one, texts, "asked again"),
            (one, texts[::-1], "asked in another order"),
            (other, texts[::2] + texts[1::2], "another filter"),
        ):
            for name, found in _answers(keep, order, 1).items():
                if found != first[name]:
                    raise Failed(f"{what}, it gives another answer to {name}")
    return counted(len(texts), "text")


@check("reasons", KIND, "name the rule and its limit as the reason, and no figure or word of the document itself")
def reasons(subject: FromFile) -> str | None:
    """Texts that differ in one figure only, such as their length, are not each rejected for a reason of its own."""
    most = 0
    with subject.beside():
        keep = subject.make()
        for texts in SERIES:
            answers = [keep(Document("the kit's", text)) for text in texts]
            told = [found.reason for found in answers if isinstance(found, Rejected)]
            if len(told) > 3 and len({*told}) == len(told):
                raise Failed(
                    f"{len(told)} texts of one pattern are rejected for {len(told)} reasons ({told[0]!r}, ...)"
                )
            most = max(most, len(told))
    if most < 2:
        raise NotApplicable("it rejects none of the kit's texts")
    return counted(most, "text")


def _answers(keep: Filter, texts: list[tuple[str, str]], number: int) -> dict[str, Document | Rejected]:
    seed(number)
    before = generators()
    found = {name: keep(Document("the kit's", text)) for name, text in texts}
    if not same_generators(before, generators()):
        raise Failed("it draws from a global random generator, or seeds it")
    return found


def _look(found: object, text: str, what: str) -> str:
    """What was done with a text.

    Raises:
        Failed: nothing that a filter may do.
    """
    if isinstance(found, Rejected):
        if not isinstance(found.reason, str) or not found.reason.strip() or len(found.reason.splitlines()) > 1:
            raise Failed(f"{what} is rejected for {found.reason!r}", do="give a reason in one line, which is counted")
        return "rejected"
    if not isinstance(found, Document) or not isinstance(found.name, str) or not isinstance(found.text, str):
        raise Failed(f"{what} gives a {type(found).__name__}")
    try:
        found.text.encode()
    except UnicodeEncodeError as error:
        raise Failed(f"{what} becomes a text that cannot be written in UTF-8") from error
    return "kept" if found.text == text else "changed"
