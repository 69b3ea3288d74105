"""Sources of documents and of rows: a listing by which their change is seen, without reading them."""

import json
from typing import Any

from lmkit.data.corpus import InvalidText, Item, Source
from lmkit.data.rows import RowSource
from lmkit.testing.first import read
from lmkit.testing.from_file import FILES, FromFile
from lmkit.testing.opened import opened_files
from lmkit.testing.results import Failed, counted
from lmkit.testing.suite import check


@check(
    "listing",
    (Source, RowSource),
    "give an `Item(name, bytes, version)` for each thing, from sizes and times, without reading it",
)
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
            subject.write(FILES[subject.kind][1] * 2)
            if source.listing() == found:
                raise Failed("it stays though the file has changed", do="tell the file's size and time of change")
    return f"{counted(len(found), 'thing')}, {sum(item.bytes for item in found):,} bytes"


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
    gives, asked = "rows" if isinstance(source, RowSource) else "documents", False

    def notice(*counts: InvalidText) -> Any:
        nonlocal asked
        asked = True
        return getattr(type(source), gives)(source, *counts)

    setattr(source, gives, notice)
    with opened_files() as files:
        source.listing()
    opened = sum(path.stat().st_size for path in {*files} if path.is_file())
    if asked or (size and opened > size / 2):
        raise Failed(f"it {f'reads the {gives}' if asked else f'opens files of {opened:,} bytes'} for its listing")
