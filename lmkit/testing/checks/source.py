"""Sources: documents one at a time, the same ones each time."""

import tracemalloc
from collections.abc import Iterator

from lmkit.data.corpus import Document, InvalidText, Source
from lmkit.testing.first import needs_own_file, read, same_again
from lmkit.testing.from_file import FromFile
from lmkit.testing.results import Failed, NotApplicable, clean, counted
from lmkit.testing.suite import check

KIND = (Source,)

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
    return same_again(subject, "document")


@check("invalid bytes", KIND, "decode by `invalid.decode`, which replaces what is no UTF-8 and counts it")
def invalid(subject: FromFile) -> str | None:
    """Of the kit's file: bytes that are not UTF-8 stop nothing, and are counted."""
    needs_own_file(subject)
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
