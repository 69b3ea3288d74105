"""Rows of JSON: each line of a .jsonl file is one, and so is each object in the list that a .json file holds."""

import json
from collections.abc import Iterator
from typing import Any

from lmkit.data.corpus.chunks import chunks, lines
from lmkit.data.corpus.files import SourceFile
from lmkit.data.rows.kinds import Row
from lmkit.errors import UserError

_DO = "mend or remove it"
_HALVES = (b"\\ud", b"\\uD")  # how JSON spells half characters, two of which may make a whole one


def read_lines(file: SourceFile, parts: Iterator[bytes] | None = None) -> Iterator[Row]:
    """A row for each line that is not blank; its number is the line's. One that is broken is a row with a fault.

    Args:
        file: a .jsonl file.
        parts: its bytes, where they have been read already.

    Raises:
        UserError: the file cannot be read.
    """
    for number, line in enumerate(lines(parts or chunks(file.path)), 1):
        if line.isspace():
            continue
        where = f"{file.name}, row {number}"
        try:
            value = json.loads(line.rstrip().decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            yield Row({}, where, fault=f"it is not JSON ({_why(error)}): {_DO}")
        else:
            yield _row(value, where, any(half in line for half in _HALVES))


def read_list(file: SourceFile) -> Iterator[Row]:
    """A row for each object of a list, or of the one list in an object; a .json file of lines is read as such.

    The file is held whole: JSON of one piece cannot be read by parts.

    Raises:
        UserError: the file cannot be read, or holds no such list.
    """
    data = b"".join(chunks(file.path))
    try:
        held = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and _has_lines(error):
            yield from read_lines(file, iter([data]))
            return
        raise UserError(f"{file.path} is not JSON ({_why(error)}): mend or remove this file") from error
    halves = any(half in data for half in _HALVES)
    for number, value in enumerate(_listed(held, file), 1):
        yield _row(value, f"{file.name}, row {number}", halves)


def _row(value: Any, where: str, halves: bool) -> Row:
    if not isinstance(value, dict):
        return Row({}, where, fault=f"it is of type {type(value).__name__}, no object with keys: {_DO}")
    if halves:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return Row({}, where, fault=f"it spells half a character, which no text can hold: {_DO}")
    return Row(value, where)


def _listed(held: Any, file: SourceFile) -> list[Any]:
    """The list that a file holds.

    Raises:
        UserError: there is none, or more than one.
    """
    if isinstance(held, list):
        return held
    need = "a list of objects, or an object with one list of them, is needed: change the file"
    if not isinstance(held, dict):
        raise UserError(f"{file.path} holds JSON of type {type(held).__name__}: {need}")
    lists = [key for key, value in held.items() if isinstance(value, list)]
    if len(lists) != 1:
        told = f"lists under {', '.join(lists)}" if lists else "no list"
        raise UserError(f"{file.path} holds an object with {told}: {need}")
    found: list[Any] = held[lists[0]]
    return found


def _has_lines(error: json.JSONDecodeError) -> bool:
    """Whether the text goes on in a new line behind a first line that is JSON by itself."""
    before = error.doc[: error.pos]
    return error.msg == "Extra data" and before.strip("\n\r\t ").count("\n") == 0 and before.endswith("\n")


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, character {error.colno}" if error.lineno > 1 else f"character {error.colno}"
        return f"{error.msg.removesuffix(' at')} at {place}"
    return f"no UTF-8 at byte {error.start + 1}" if isinstance(error, UnicodeDecodeError) else str(error)
