"""Sources: documents one at a time, the same ones each time, and a listing by which their change is seen.

At most the first documents of a source are read here, since it may be of any size.
"""

import json
import tracemalloc
from collections.abc import Iterator
from itertools import islice
from typing import Any

from lmkit.data.corpus import Document, InvalidText, Item, Source
from lmkit.testing.from_file import TEXT, FromFile
from lmkit.testing.opened import opened_files
from lmkit.testing.results import Failed, NotApplicable, clean, counted
from lmkit.testing.suite import check
from lmkit.testing.toys import generators, same_generators, seed

KIND = (Source,)
FIRST = 256
"""Documents that are read at most."""

INVALID = b"One text.\n<|endoftext|>\nGr" + b"\xfc\xdf" + b"e\n<|endoftext|>\nThe last one.\n"
MANY = (("Text words of a line. " * 40 + "\n") * 10 + "<|endoftext|>\n") * 250
ENOUGH, LEAST, SPARE = 4_000_000, 16, 1 << 16
"""Characters that are read to measure memory; by how much they have to exceed the largest document, and what any reader
may hold, to tell something.
"""


@check(
    "documents", KIND, "yield `Document(name, text)`, both str, one after another, and decode by `invalid`", runs=True
)
def documents(subject: FromFile) -> str | None:
    """An iterator of documents whose texts can be written in UTF-8, and are not all empty."""
    with subject.beside():
        source = subject.make()
        found = read(subject, source)
        stream = source.documents(InvalidText())
    if not isinstance(stream, Iterator):
        raise Failed(f"documents() gives a {type(stream).__name__}", do="make it a generator: `yield Document(...)`")
    for number, document in enumerate(found, 1):
        if not isinstance(document, Document):
            raise Failed(f"thing {number} that it gives is a {type(document).__name__}, not a Document")
        if not isinstance(document.name, str) or not isinstance(document.text, str):
            raise Failed(f"document {number} has a name or text that is no str")
        try:
            document.text.encode()
        except UnicodeEncodeError as error:
            do = "replace half characters by `invalid.without_surrogates`"
            raise Failed(f"document {number} cannot be written in UTF-8", do=do) from error
    if not any(document.text for document in found):
        raise Failed("it gives no document with a text")
    return counted(len(found), "document")


@check("documents repeat", KIND, "read in a sorted order, draw nothing, and keep no place between two readings")
def repeats(subject: FromFile) -> str | None:
    """Once more, after a reading that was left, by another source of the same options, and whatever the seeds."""
    with subject.beside():
        source, runs = subject.make(), []
        for number, each in enumerate((source, source, subject.make())):
            seed(number)
            before = generators()
            read(subject, each, 1)
            runs.append(read(subject, each))
            if not same_generators(before, generators()):
                raise Failed("reading draws from a global random generator, or seeds it")
    for other in runs[1:]:
        if other != runs[0]:
            pairs = zip(runs[0], other, strict=False)
            place = next((n for n, (one, two) in enumerate(pairs, 1) if one != two), min(len(runs[0]), len(other)) + 1)
            raise Failed(f"read again, document {place} is another one")
    return counted(len(runs[0]), "document")


@check("invalid bytes", KIND, "decode by `invalid.decode`, which replaces what is no UTF-8 and counts it")
def invalid(subject: FromFile) -> str | None:
    """Of the kit's file: bytes that are not UTF-8 stop nothing, and are counted."""
    _own_file(subject)
    with subject.beside():
        source, counts = subject.make(), InvalidText()
        read(subject, source)
        subject.write(INVALID)
        try:
            texts = [document.text for document in source.documents(counts)]
        except Exception as error:
            raise Failed(f"bytes that are not UTF-8 stop it ({clean(error)})") from error
    if not counts.documents or not counts.sequences:
        raise Failed("bytes that are not UTF-8 are not counted")
    if not any("\ufffd" in text for text in texts):
        raise Failed("bytes that are not UTF-8 leave no U+FFFD in any text")
    return counted(counts.sequences, "sequence")


@check("streams", KIND, "yield each document as soon as it is read, and hold no list of texts")
def streams(subject: FromFile) -> str | None:
    """The memory that reading takes is a small part of what is read, if that is large enough to tell."""
    with subject.beside(MANY):
        source = subject.make()
        read(subject, source, 1)  # which may import, and make tables
        tracing = tracemalloc.is_tracing()
        tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            total = largest = 0
            for document in source.documents(InvalidText()):
                total, largest = total + len(document.text), max(largest, len(document.text))
                if total > ENOUGH:
                    break
            held = tracemalloc.get_traced_memory()[1] - before
        finally:
            if not tracing:
                tracemalloc.stop()
    if total < LEAST * max(largest, SPARE):
        raise NotApplicable(f"what it reads, {total:,} characters, is too little to tell")
    if held > total / 2:
        raise Failed(f"to read {total:,} characters, it holds up to {held:,} bytes", f"{held:,} bytes")
    return f"{held:,} bytes for {total:,}"


@check("listing", KIND, "give an `Item(name, bytes, version)` for each thing, from sizes and times, without reading it")
def listing(subject: FromFile) -> str | None:
    """The same twice and by another source, found without reading, and another one once a file has changed."""
    with subject.beside():
        source = subject.make()
        read(subject, source, 1)
        found = source.listing()
        if not isinstance(found, list) or not all(map(_is_item, found)):
            raise Failed("it is no list of Item(str, int, int or str)")
        if not found:
            raise Failed("it is empty", do="raise a UserError where nothing is there")
        json.dumps(found)
        if source.listing() != found or subject.make().listing() != found:
            raise Failed("asked again, it is another one")
        _reads_nothing(subject, sum(item.bytes for item in found))
        if subject.file is not None:
            subject.write(TEXT + "More.\n")
            if source.listing() == found:
                raise Failed("it stays though the file has changed", do="tell the file's size and time of change")
    return f"{counted(len(found), 'thing')}, {sum(item.bytes for item in found):,} bytes"


def read(subject: FromFile, source: Source, most: int = FIRST) -> list[Document]:
    """The first documents."""
    found: list[Document] = []
    try:
        for document in islice(source.documents(InvalidText()), most):
            found.append(document)
    except Exception as error:
        chosen = sorted(subject.options.keys() - subject.named.keys())
        if found or not chosen:
            raise
        raise NotApplicable(
            f"it cannot read what the kit gives it as {', '.join(chosen)} ({clean(error)}): name that by --options"
        ) from error
    return found


def _own_file(subject: FromFile) -> None:
    if subject.file is None:
        raise NotApplicable("it has no option `path` that the kit could give a file of its own")


def _is_item(item: object) -> bool:
    return (
        isinstance(item, Item)
        and isinstance(item.name, str)
        and isinstance(item.bytes, int)
        and item.bytes >= 0
        and isinstance(item.version, int | str)
    )


def _reads_nothing(subject: FromFile, size: int) -> None:
    """Looks at what a fresh source opens for its listing; it may read a table of contents."""
    source: Any = subject.make()
    asked = False

    def refuse(counts: InvalidText) -> Iterator[Document]:
        nonlocal asked
        asked = True
        return type(source).documents(source, counts)

    source.documents = refuse
    with opened_files() as files:
        source.listing()
    opened = sum(path.stat().st_size for path in {*files} if path.is_file())
    if asked or (size and opened > size / 2):
        raise Failed(f"it {'reads the documents' if asked else f'opens files of {opened:,} bytes'} for its listing")
