"""What is asked about an entry of the standard library, and what its documentation answers."""

from collections.abc import Sequence
from typing import NamedTuple

from lmkit.data.rows.standard_library.drawing import choose
from lmkit.data.rows.standard_library.entries import Entry, instance
from lmkit.data.rows.standard_library.verbs import third_person
from lmkit.data.rows.standard_library.wording import first_sentence, within

_WHAT = {
    "function": ("What does `{full}` do?", "What does {full} do?", "What is `{full}` for?", "Explain `{full}`."),
    "class": ("What is `{full}`?", "What is the class `{full}` for?", "What is a {full}?", "Describe `{full}`."),
    "exception": ("What is `{full}`?", "What does the exception `{full}` mean?", "What is the exception {full} for?"),
    "property": (
        "What is `{full}`?",
        "What does the attribute `{full}` hold?",
        "What is the attribute `{last}` of `{holder}`?",
    ),
    "module": ("What is the module `{full}` for?", "What is {full}?", "What does the module `{full}` offer?"),
    "method": ("What does `{full}` do?", "What does the method `{last}` of `{holder}` do?", "What is `{full}` for?"),
}
_CALL = {
    "class": ("How is a `{full}` made?", "How do I make a {full}?", "Which arguments does the class `{full}` take?"),
    "function": ("How is `{full}` called?", "How do I call {full}?", "Which arguments does `{full}` take?"),
}
_THEN = ("And how is it called?", "How do I call it?", "Which arguments does it take?", "How is it used in code?")
_THEN_MADE = ("And how is one made?", "How do I make one?", "Which arguments does it take?")
_WHERE = (
    "Where is `{name}`?",
    "Which module has the {kind} `{name}`?",
    "From where do I import `{name}`?",
    "In which module is the {kind} {name}?",
)


class Exchange(NamedTuple):
    """A question and its right answer."""

    question: str
    answer: str


def what(entry: Entry, limit: int) -> Exchange:
    """What it does or is; the answer is its docstring, in whole paragraphs up to a limit of characters."""
    phrases = _WHAT["function" if entry.kind == "bound" else entry.kind]
    return Exchange(_say(choose(phrases, "what", entry.full), entry), within(entry.doc, limit))


def briefly(entry: Entry) -> str:
    """The first sentence of its docstring."""
    sentence = first_sentence(entry.doc)
    return sentence if sentence.endswith(("!", "?", ":")) else f"{sentence}."


def call(entry: Entry, further: bool = False) -> Exchange | None:
    """How it is called, where that is known; a line of code and a sentence.

    Args:
        entry: which.
        further: whether it has been spoken of before.
    """
    if not entry.call:
        return None
    is_class = entry.kind in {"class", "exception"}
    if further:
        phrases: Sequence[str] = _THEN_MADE if is_class else _THEN
    else:
        phrases = _CALL["class" if is_class else "function"]
    question = _say(choose(phrases, "call", entry.full), entry)
    return Exchange(question, called(entry, entry.call) + ("" if further else f"\n\n{briefly(entry)}"))


def called(entry: Entry, line: str) -> str:
    """A line of code with what its object is."""
    if entry.kind == "method":
        holder = _holder(entry)
        obj = instance(holder.rpartition(".")[2])
        return f"`{line}`, where `{obj}` is {_article(holder)} `{holder}`."
    return choose(("`{}`", "Like this: `{}`", "Call it as `{}`."), "called", entry.full).format(line)


def which(entry: Entry) -> Exchange | None:
    """What is meant by a description, the first sentence of its docstring; none where that is no description."""
    kind, place, sentence = _kind(entry), _place(entry), first_sentence(entry.doc)
    last = entry.name.rpartition(".")[2]
    if entry.kind == "module" or not 25 <= len(sentence) <= 200 or last.lower() in sentence.lower():
        return None
    if verb := _does(entry):
        phrases = [f"Which {kind} {place} {verb}?", f"What is the {kind} {place} called that {verb}?"]
    else:
        phrases = [f'Which {kind} {place} is meant: "{sentence}"?', f'"{sentence}": which {kind} {place} is that?']
    answers = ("`{full}`", "That is `{full}`.", "It is `{full}`.", "`{full}`.")
    return Exchange(choose(phrases, "which", entry.full), _say(choose(answers, "answer", entry.full), entry))


def described(entry: Entry) -> str:
    """What `which` tells of it: where two entries have that in common, the answer is not one."""
    return f"{_kind(entry)} {_place(entry)}: {first_sentence(entry.doc).lower()}"


def where(entry: Entry) -> Exchange | None:
    """Which module it is in, for what stands at the top of one and of no other; no short names, such as `get`."""
    if not entry.is_only or len(entry.name) < 5 or "." in entry.name or entry.module == "builtins":
        return None
    answer = "The {kind} `{name}` is in the module `{module}`: `from {module} import {name}`."
    return Exchange(_say(choose(_WHERE, "where", entry.full), entry), _say(answer, entry))


def _say(phrase: str, entry: Entry) -> str:
    phrase = phrase.replace(" a {full}", f" {_article(entry.full)} {{full}}")
    phrase = phrase.replace(" a `{full}`", f" {_article(entry.full)} `{{full}}`")
    last = entry.name.rpartition(".")[2]
    return phrase.format(
        full=entry.full, name=entry.name, module=entry.module, kind=_kind(entry), last=last, holder=_holder(entry)
    )


def _does(entry: Entry) -> str | None:
    """The first sentence as what can follow "which function": "returns the sum"; none where it does not begin so."""
    sentence = first_sentence(entry.doc)
    if entry.kind in {"function", "method", "bound"}:
        return third_person(sentence)
    word, _, rest = sentence.partition(" ")
    if word in {"A", "An", "The"}:
        return f"is {word.lower()} {rest}"
    return f"is raised {rest}" if word == "Raised" else None


def _kind(entry: Entry) -> str:
    if entry.module == "builtins" and "." not in entry.name:
        return f"built-in {entry.kind}"
    return {"bound": "method", "property": "attribute"}.get(entry.kind, entry.kind)


def _place(entry: Entry) -> str:
    if "." in entry.name:
        return f"of `{_holder(entry)}`"
    return "of Python" if entry.module == "builtins" else f"of the module `{entry.module}`"


def _holder(entry: Entry) -> str:
    return entry.full.rpartition(".")[0]


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeio" else "a"
