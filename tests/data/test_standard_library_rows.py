"""Rows that are made of the standard library: right, the same each time, and nothing held out among what is trained."""

import inspect
import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from operator import ne
from typing import Any

import pytest

from lmkit.data.chat_templates import ChatML
from lmkit.data.chat_templates.conversation import check_messages
from lmkit.data.corpus import standard_library
from lmkit.data.rows import (
    Row,
    RowSource,
    StandardLibraryChats,
    StandardLibraryJudged,
    StandardLibraryLabels,
    StandardLibraryPairs,
)
from lmkit.data.rows.standard_library import chats, labels, pairs, questions
from lmkit.data.rows.standard_library.areas import AREAS
from lmkit.data.rows.standard_library.entries import Entry, entries, instance
from lmkit.data.rows.standard_library.parsed import parse
from lmkit.data.rows.standard_library.verbs import third_person
from lmkit.data.rows.standard_library.wording import clean, first_sentence, within
from lmkit.data.rows.standard_library.wrong import Others
from lmkit.data.split import held_out_above, is_validation, last_held_out
from lmkit.errors import UserError

SOURCES = (StandardLibraryChats, StandardLibraryPairs, StandardLibraryLabels, StandardLibraryJudged)


PART = re.compile(
    r"(asyncio|collections|concurrent|datetime|json|logging|multiprocessing|unittest)\b|(_collections_abc|_pydatetime|cmd|csv|"
    r"genericpath|inspect|os|posixpath|random|shutil|smtplib|struct|subprocess|tarfile|textwrap|threading|zipfile).py"
)
"""Of the sources that are read where time is short; modules without source are always read."""


@pytest.fixture(scope="module", params=["part", pytest.param("whole", marks=pytest.mark.slow)])
def library(request: pytest.FixtureRequest) -> list[Entry]:
    if request.param == "whole":
        return entries()
    part = [document for document in standard_library.sources() if PART.match(document.name)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standard_library, "sources", lambda: part)
        return entries.__wrapped__()


@pytest.fixture(scope="module")
def rows(library: list[Entry]) -> Iterator[dict[type[RowSource], list[Row]]]:
    """Those of every source, out of one reading of the library."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (chats, labels, pairs):
            patch.setattr(module, "entries", lambda: library)
        yield {source: list(source().rows()) for source in SOURCES}


@pytest.fixture(scope="module")
def by_name(library: list[Entry]) -> dict[str, Entry]:
    return {entry.full: entry for entry in library}


of_the_whole = pytest.mark.parametrize(
    "library", [pytest.param("whole", marks=pytest.mark.slow)], indirect=True, scope="module"
)


def messages(row: Row) -> list[list[dict[str, str]]]:
    """The conversations of a row."""
    if "messages" in row.values:
        return [row.values["messages"]]
    prompt = row.values["prompt"]
    return [prompt + row.values[name] for name in ("chosen", "rejected", "completion") if name in row.values]


def digest(rows):
    found = sha256()
    for row in rows:
        found.update(repr((row.values, row.where, row.group[:300])).encode())
    return found.hexdigest()


def letters(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


def test_entries_are_known_by_their_public_names(by_name: dict[str, Entry]) -> None:
    for name, call in {
        "json.JSONDecoder.raw_decode": "json_decoder.raw_decode(s, idx=0)",
        "textwrap.dedent": "textwrap.dedent(text)",
        "struct.pack": "struct.pack(format, v1, v2, ...)",
        "asyncio.Lock.acquire": "await lock.acquire()",
        "os.urandom": "os.urandom(size, /)",
        "os.path.commonprefix": "os.path.commonprefix(m)",
        "str.zfill": "s.zfill(width, /)",
        "dict.fromkeys": "dict.fromkeys(iterable, value=None, /)",
        "datetime.date.isocalendar": "d.isocalendar()",
        "concurrent.futures.Executor.submit": "executor.submit(fn, /, *args, **kwargs)",
        "subprocess.CalledProcessError": "subprocess.CalledProcessError(returncode, cmd, output=None, stderr=None)",
        "tarfile": "",
    }.items():
        assert by_name[name].call == call, name
    assert by_name["textwrap.dedent"].doc.startswith("Remove any common leading whitespace from every line in `text`.")
    kinds = {"json.JSONDecoder": "class", "threading.Thread.daemon": "property", "zlib": "module", "OSError": ""}
    assert {name: by_name[name].kind for name in kinds if name in by_name}.items() <= kinds.items()


def test_entries_are_public_documented_and_each_one_once(library: list[Entry]) -> None:
    assert len(library) > 1500
    assert len({entry.full for entry in library}) == len({letters(entry.doc) for entry in library}) == len(library)
    for entry in library:
        assert 40 <= len(entry.doc) <= 1500, entry.full
        assert not re.search(r"(^|\.)_", entry.full), entry.full
        assert not re.search(r"(^|\.)(tests?|idlelib|lib2to3)(\.|$)", entry.module), entry.full
        assert not re.search(r":(class|func|meth|mod):|``|^\.\. |::$|[ \t]$|\n\n\n", entry.doc, re.M), entry.full
        assert entry.call.count("(") == entry.call.count(")"), entry.call


@of_the_whole
def test_what_is_held_out_of_pretraining_is_held_out_here(library: list[Entry]) -> None:
    documents = {document.text for document in standard_library.documents()}
    assert {entry.group for entry in library} <= documents
    topics = max(documents, key=len)  # where some commands of pdb are described again
    trained = letters(" ".join(text for text in documents - {topics} if not is_validation(text, 0.05)))
    held_out = [entry for entry in library if is_validation(entry.group, 0.05)]
    assert [entry.full for entry in held_out if letters(entry.doc) in trained] == []


def test_rows_are_grouped_by_what_they_tell_of(
    rows: dict[type[RowSource], list[Row]], by_name: dict[str, Entry]
) -> None:
    for found in rows.values():
        for row in found:
            assert row.group is by_name[row.where.partition(",")[0]].group
        assert len({row.where for row in found}) == len(found)
        assert len({json.dumps(row.values) for row in found}) == len(found)


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_no_training_row_shows_what_is_held_out(
    fraction: float, rows: dict[type[RowSource], list[Row]], library: list[Entry]
) -> None:
    side = {group: is_validation(group, fraction) for group in {entry.group for entry in library}}
    held_out = {letters(within(entry.doc, 600)) for entry in library if side[entry.group]}
    calls = {entry.call.partition("(")[2] for entry in library if side[entry.group] and len(entry.call) > 60}
    calls -= {entry.call.partition("(")[2] for entry in library if not side[entry.group]}
    assert len(held_out) > 50
    for source in (StandardLibraryChats, StandardLibraryPairs, StandardLibraryJudged):
        for row in rows[source]:
            assert row.group is not None
            if not side[row.group]:
                answers = [message["content"] for turns in messages(row) for message in turns]
                assert not any(letters(answer) in held_out for answer in answers), row.where
                shown = {line.partition("(")[2] for answer in answers for line in re.findall(r"`([^`]+)`", answer)}
                assert not shown & calls, row.where


def test_templates_take_every_conversation(rows: dict[type[RowSource], list[Row]]) -> None:
    template = ChatML()
    turns = Counter[str]()
    for source in (StandardLibraryChats, StandardLibraryPairs):
        for row in rows[source]:
            for conversation in messages(row):
                check_messages(conversation, template.roles)
                roles = [message["role"] for message in conversation]
                turns[" ".join(roles)] += 1
                assert roles[roles[0] == "system" :] == ["user", "assistant"] * (len(roles) // 2)
                for message in conversation:
                    assert message["content"].strip() == message["content"] != "", row.where
        template.render(conversation)
    assert len(turns) == 4  # with and without a system, one question and two
    assert min(turns.values()) > 50


def test_answers_are_as_short_as_they_are_asked_for(library: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats, "entries", lambda: library[::20])
    found = [message for row in StandardLibraryChats(200).rows() for message in row.values["messages"]]
    texts = [message["content"] for message in found if message["role"] == "assistant"]
    assert sum(len(text) > 200 for text in texts) < 0.1 * len(texts)  # a call and a sentence, or one long sentence
    with pytest.raises(UserError, match="max_answer is 20; give a number of characters, 100 or more"):
        StandardLibraryChats(20)


def test_lengths_do_not_tell_chosen_from_rejected(rows: dict[type[RowSource], list[Row]]) -> None:
    found = [[row.values[name][0]["content"] for name in ("chosen", "rejected")] for row in rows[StandardLibraryPairs]]
    assert all(letters(chosen) != letters(rejected) for chosen, rejected in found)
    chosen, rejected = ([len(pair[place]) for pair in found] for place in (0, 1))
    assert sum(chosen) == pytest.approx(sum(rejected), rel=0.02)
    ahead = sum((a > b) - (a < b) for a, b in zip(chosen, rejected, strict=True))
    assert abs(ahead) < 0.04 * len(found)


def test_judged_are_the_pairs_one_by_one(rows: dict[type[RowSource], list[Row]]) -> None:
    judged = rows[StandardLibraryJudged]
    for pair, good, bad in zip(rows[StandardLibraryPairs], judged[::2], judged[1::2], strict=True):
        prompt, chosen, rejected = pair.values.values()
        assert good.values == {"prompt": prompt, "completion": chosen, "label": True}
        assert bad.values == {"prompt": prompt, "completion": rejected, "label": False}


@of_the_whole
def test_labels_can_be_learned_from_words(rows: dict[type[RowSource], list[Row]]) -> None:
    """Naive Bayes, on modules that it has not counted."""
    sides: dict[bool, list[tuple[set[str], str]]] = {True: [], False: []}
    side = {row.group: is_validation(row.group or "", 0.3) for row in rows[StandardLibraryLabels]}
    for row in rows[StandardLibraryLabels]:
        sides[side[row.group]].append((set(re.findall(r"\w+", row.values["text"].lower())), row.values["label"]))
    texts = Counter(label for _, label in sides[False])
    assert set(texts) == set(AREAS)
    assert max(texts.values()) < 0.25 * texts.total()
    words = Counter((label, word) for found, label in sides[False] for word in found)
    guesses = [
        max(texts, key=lambda label: sum(math.log((words[label, word] + 0.1) / texts[label]) for word in found))
        for found, _ in sides[True]
    ]
    right = sum(guess == label for guess, (_, label) in zip(guesses, sides[True], strict=True))
    assert right > 0.5 * len(guesses)


def test_keys_tell_sources_and_options_apart() -> None:
    sources: list[RowSource] = [source() for source in SOURCES]
    sources += [StandardLibraryChats(300), StandardLibraryLabels(300)]
    keys = [json.dumps(source.key()) for source in sources]
    assert len(set(keys)) == len(keys)
    assert keys[0] == json.dumps(StandardLibraryChats(600).key())
    assert str(sources[0]).startswith("StandardLibraryChats of Python 3.")


@of_the_whole
def test_rows_are_the_same_in_another_process(rows: dict[type[RowSource], list[Row]]) -> None:
    script = (
        f"{inspect.getsource(digest)}\n"
        f"from hashlib import sha256; from lmkit.data import rows\n"
        f"for name in {[source.__name__ for source in SOURCES[:3]]}: print(digest(getattr(rows, name)().rows()))"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{script}"]
    other = subprocess.check_output(command, env={"PYTHONHASHSEED": "7"}, text=True).split()
    assert other == [digest(rows[source]) for source in SOURCES[:3]]


def test_of_several_texts_the_one_held_out_last_is_found() -> None:
    texts = [f"text {number}" for number in range(30)]
    last = last_held_out(texts)
    for fraction in (0.1, 0.5, 0.9, 0.97, 0.99):
        assert is_validation(last, fraction) == all(is_validation(text, fraction) for text in texts)


def test_wrong_answers_are_of_the_documents_that_would_be_held_out_next() -> None:
    groups = sorted((f"document {number}" for number in range(60)), key=held_out_above)
    made = [
        (Entry("function", f"m{place}", f"f{number}", "", "", True, group), f"{'word ' * 10}{place:02d}{'.' * number}")
        for place, group in enumerate(groups)
        for number in range(5)
    ]
    others = Others(made)
    far = []
    for entry, text in made:
        found = others.near(entry, text, partial(ne, text))
        assert found is not None
        place = int(entry.module[1:])
        far.append(int(re.findall(r"\d\d", found)[0]) - place)
        assert far[-1] >= 0 or held_out_above(groups[place + far[-1]]) >= 0.5
    assert 0 in far  # the same document
    assert sum(0 <= each <= 1 for each in far) > 0.8 * len(far)


MODULE = '''
"""Things."""
from .inner import *
from a.b import C as D
__all__ = ["f", "Thing"]

async def f(a, *, b: int = 1) -> str:
    """Does."""

if True:
    class Thing(ValueError):
        """A thing."""
        def __init__(self, x=1): ...
        @classmethod
        def make(cls, /, y): "Makes."
        @staticmethod
        def plain(z): "Plain."
        @property
        def size(self): "Size."
        @size.setter
        def size(self, value): "Other."
        def grow(self, *args, by): "Grows."
'''


def test_sources_are_read_without_running_them() -> None:
    module = parse("things/__init__.py", MODULE)
    assert module is not None
    assert [tuple(entry) for entry in module.entries if not entry.name.endswith("__init__")] == [
        ("module", "", "", "Things."),
        ("function", "f", "await (a, *, b: int=1)", "Does."),
        ("class", "Thing", "(x=1)", "A thing."),
        ("bound", "Thing.make", "(y)", "Makes."),
        ("bound", "Thing.plain", "(z)", "Plain."),
        ("property", "Thing.size", "", "Size."),
        ("method", "Thing.grow", "(*args, by)", "Grows."),
    ]
    assert [tuple(taken) for taken in module.imports] == [("things.inner", "*", "*"), ("a.b", "C", "D")]
    assert module.exported == {"f", "Thing"}
    assert parse("old.py", "print 1") is None


@pytest.mark.parametrize(
    ("doc", "cleaned"),
    [
        ("Use :class:`~a.B` or ``c``::\n\n    c()", "Use `a.B` or `c`:\n\n    c()"),
        ("Say ``so'' and `thus'.", 'Say "so" and "thus".'),
        ("f(x) -> int\n\nReturn x.", "Return x."),
        ("f(x) -> int -- return x", "Return x"),
        ("D.f(k[,d]) -> v, remove the key and return\nits value.", "Remove the key and return\nits value."),
        ("Go.\n\n.. versionadded:: 3.4\n   Later.\n\nStop.", "Go.\n\nStop."),
        ("Title\n=====\n\nText.", "Title\n\nText."),
        ("Open it.\n\nOpen it, and more.", "Open it, and more."),
        ("f: what it is", "what it is"),
        (">>> f()\n1", ""),
        ("Internal: not for use.", ""),
    ],
)
def test_docstrings_become_prose(doc: str, cleaned: str) -> None:
    assert clean(doc, "f", 1500)[0] == cleaned


def test_docstrings_are_shortened_to_what_is_whole() -> None:
    doc = "Do this. Do that.\n\nFor example:\n\n    this()\n\nThe end."
    assert within(doc, 100) == doc
    assert within(doc, 40) == "Do this. Do that."
    assert within(doc, 10) == "Do this."
    assert within(doc, 2) == "Do this."
    assert first_sentence('Take (e.g. A) "b". `c` is next.') == 'Take (e.g. A) "b"'


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("Return the sum", "returns the sum"),
        ("Pop a value and return it", "pops a value and returns it"),
        ("Try to match", "tries to match"),
        ("Push it", "pushes it"),
        ("Returns it", "returns it"),
        ("Recursively delete it", "recursively deletes it"),
        ("Set of names", None),
        ("The sum", None),
    ],
)
def test_what_is_told_becomes_what_is_done(sentence: str, said: str | None) -> None:
    assert third_person(sentence) == said


def test_objects_have_names_that_can_be_written() -> None:
    names = {"HTTPConnection": "http_connection", "str": "s", "Lambda": "my_lambda", "Set": "my_set", "Path": "path"}
    names["Random"] = "my_random"  # as the module
    assert {cls: instance(cls) for cls in names} == names


def test_questions_have_the_answers_of_the_documentation(by_name: dict[str, Entry]) -> None:
    entry = by_name["threading.Thread.join"]
    assert questions.what(entry, 600).answer.startswith("Wait until the thread terminates.")
    call: Any = questions.call(entry)
    assert call.answer == (
        "`thread.join(timeout=None)`, where `thread` is a `threading.Thread`.\n\nWait until the thread terminates."
    )
    which: Any = questions.which(by_name["shutil.rmtree"])
    assert "of the module `shutil`" in which.question
    assert "deletes a directory tree" in which.question
    assert "`shutil.rmtree`" in which.answer
    where: Any = questions.where(by_name["textwrap.dedent"])
    assert where.answer == "The function `dedent` is in the module `textwrap`: `from textwrap import dedent`."
    assert questions.where(by_name["os.urandom"]) is not None
    assert questions.where(by_name["str.zfill"]) is None
