"""Row sources: rows one at a time, the same ones each time, and those that are broken stop nothing."""

import json
from collections.abc import Iterator

from lmkit.data.rows import Row, RowSource
from lmkit.testing.first import needs_own_file, read, same_again
from lmkit.testing.from_file import ROWS, FromFile
from lmkit.testing.results import Failed, clean, counted
from lmkit.testing.suite import check

KIND = (RowSource,)
BROKEN = ROWS.encode() + b'{"prompt": "Gr\xfc\xdfe", "completion": "Ja."}\n{"prompt": "Who\n' + ROWS.encode()


@check("rows", KIND, "yield `Row(values, where)`, one after another: a mapping by key, and the row in words", runs=True)
def rows(subject: FromFile) -> str | None:
    """An iterator of rows with names of their own, each with values or a fault, whose texts UTF-8 can hold."""
    with subject.beside():
        source = subject.make()
        found = read(subject, source)
        stream = source.rows()
    if not isinstance(stream, Iterator):
        raise Failed(f"rows() gives a {type(stream).__name__}", do="make it a generator: `yield Row(...)`")
    for number, row in enumerate(found, 1):
        _look(row, number)
    if len({row.where for row in found}) < len(found):
        raise Failed("two rows have one name", do="let `where` name the file and the row, counted from 1")
    if not any(row.values for row in found):
        raise Failed("it gives no row with values")
    return counted(len(found), "row")


@check("rows repeat", KIND, "read in a sorted order, draw nothing, and keep no place between two readings")
def repeats(subject: FromFile) -> str | None:
    """Once more, after a reading that was left, by another source of the same options, and whatever the seeds."""
    return same_again(subject, "row")


@check("broken rows", KIND, "yield `Row({}, where, fault=...)` for what cannot be read, and go on with the next")
def broken(subject: FromFile) -> str | None:
    """Of the kit's file: what is not UTF-8 ends nothing, and is told by a fault, or seen as U+FFFD."""
    needs_own_file(subject)
    with subject.beside():
        source = subject.make()
        sound = sum(row.fault is None for row in read(subject, source))
        subject.write(BROKEN)
        try:
            found = [*source.rows()]
        except Exception as error:
            raise Failed(f"a row that is broken stops it ({clean(error)})") from error
    for number, row in enumerate(found, 1):
        _look(row, number)
    faults = sum(row.fault is not None for row in found)
    if not faults and "\ufffd" not in str([row.values for row in found]):
        raise Failed("bytes that are not UTF-8 are seen nowhere")
    if len(found) - faults < 2 * sound:
        raise Failed("rows that are sound are lost beside one that is broken")
    return counted(faults, "fault")


def _look(row: object, number: int) -> None:
    """Looks at one row.

    Raises:
        Failed: it is none.
    """
    if not isinstance(row, Row):
        raise Failed(f"thing {number} that it gives is a {type(row).__name__}, not a Row")
    if not isinstance(row.where, str) or not row.where:
        raise Failed(f"row {number} has no name", do="let `where` name the file and the row, counted from 1")
    if not isinstance(row.values, dict) or not all(isinstance(key, str) for key in row.values):
        raise Failed(f"the values of row {number} are no dict with keys that are str")
    if not isinstance(row.group, str | None) or not isinstance(row.fault, str | None):
        raise Failed(f"the group or the fault of row {number} is no str", do="give both as text, or None")
    if row.fault is not None and row.values:
        raise Failed(f"row {number} has values beside its fault", do="give `{}` as the values of a row with a fault")
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        raise Failed(f"row {number} cannot be written in UTF-8", do="make half characters a fault") from error
