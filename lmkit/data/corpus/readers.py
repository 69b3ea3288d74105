"""Reads a file as a stream of documents: a text as one, a long one as many, each line of a .jsonl file as one."""

import json
from collections.abc import Iterator
from itertools import chain

from lmkit.data.corpus.chunks import chunks, lines
from lmkit.data.corpus.document import Document, InvalidText
from lmkit.data.corpus.files import SourceFile
from lmkit.errors import UserError

BOOK_BYTES = 256 * 1024  # a longer .txt or .md holds many texts, and must be cut to leave some for validation
PIECE_BYTES = 16 * 1024
_CUTS = (b"\n\n", b"\n\r\n", b"\n", b" ")  # best first: after a blank line, after a line, after a word


def read_file(file: SourceFile, invalid: InvalidText) -> Iterator[Document]:
    """Yields the documents of a file, without ever holding a large one whole.

    Args:
        file: what to read.
        invalid: counts what is not UTF-8, while the documents are read.

    Raises:
        UserError: the file is damaged.
    """
    yield from (_records if file.kind == ".jsonl" else _texts)(file, invalid)


def _records(file: SourceFile, invalid: InvalidText) -> Iterator[Document]:
    """A document for each line of a .jsonl file that is not blank."""
    for number, line in enumerate(lines(chunks(file.path)), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(invalid.decode(line))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{file.path}, line {number} is not JSON ({error}); mend or remove this line") from error
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            came = f"keys {', '.join(record) or 'none'}" if isinstance(record, dict) else type(record).__name__
            raise UserError(f'{file.path}, line {number} needs a string under "text", came: {came}; mend this line')
        yield Document(f"{file.name}:{number}", invalid.without_surrogates(text))


def _texts(file: SourceFile, invalid: InvalidText) -> Iterator[Document]:
    """The file as one document, or as pieces where it is a book."""
    parts = chunks(file.path)
    start = b""
    for part in parts:
        start += part
        if len(start) > BOOK_BYTES and file.kind != ".py":
            pieces = enumerate(_pieces(chain([start], parts)))
            yield from (Document(f"{file.name}#{index}", invalid.decode(piece)) for index, piece in pieces)
            return
    yield Document(file.name, invalid.decode(start))


def _pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Cuts a stream of bytes into pieces between half of PIECE_BYTES and PIECE_BYTES; the last may be shorter."""
    rest = b""
    for part in parts:
        rest += part
        start = 0
        while len(rest) - start > PIECE_BYTES:
            cut = _cut(rest, start)
            yield rest[start:cut]
            start = cut
        rest = rest[start:]
    yield rest


def _cut(data: bytes, start: int) -> int:
    """Where the piece that begins at `start` ends: at the last good place before it grows too long."""
    low, high = start + PIECE_BYTES // 2, start + PIECE_BYTES
    for mark in _CUTS:
        found = data.rfind(mark, low, high)
        if found >= 0:
            return found + len(mark)
    # No line ends and no words: cut between characters, whose continuation bytes are 10xxxxxx, at most three of them.
    return next((cut for cut in range(high, high - 4, -1) if data[cut] & 0xC0 != 0x80), high)
