"""The sources that are built in: files of the user's own, and Python's own standard library."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmkit.data.corpus import standard_library
from lmkit.data.corpus.document import Document, InvalidText
from lmkit.data.corpus.files import source_files
from lmkit.data.corpus.kinds import Item, Source
from lmkit.data.corpus.readers import read_file
from lmkit.errors import UserError

STANDARD_LIBRARY = "stdlib"


class Files(Source):
    """A file, a folder with all below it, or a glob of .txt, .md, .py and .jsonl, each also as .gz or .zst.

    A .txt, .md or .py file is a document, a line of a .jsonl file is one (its `text`). A .txt or .md file longer than
    `BOOK_BYTES` is read in pieces of at most `PIECE_BYTES`, each a document, which together are the file's exact text.

    Args:
        path: of the file or folder, or the glob (`**` crosses folders), from where the command runs.
    """

    def __init__(self, path: str) -> None:
        if not path:
            raise UserError('the source is empty; give a file, a folder or a glob, or "stdlib"')
        self.path = path

    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        """Yields the documents of the files, sorted by name."""
        for file in source_files(self.path):
            yield from read_file(file, invalid)

    def listing(self) -> list[Item]:
        """Name, size and time in nanoseconds of each file."""
        stats = ((file.name, file.path.stat()) for file in source_files(self.path))
        return [Item(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]

    def key(self) -> Any:
        """The listing alone: the same files elsewhere are the same texts, unless a derived class reads them."""
        return self.listing() if type(self) is Files else super().key()

    def __str__(self) -> str:
        return self.path


class StandardLibrary(Source):
    """The standard library of the Python that runs, so that a first run needs no download."""

    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        """Yields sources by path, then C modules by name, then the language reference of `help()`."""
        return standard_library.documents()

    def listing(self) -> list[Item]:
        """Python's version, then the size of each module's source, without times, which do not change its text."""
        sizes = standard_library.source_sizes()
        return [Item(sys.version, 0, 0), *(Item(name, size, 0) for name, size in sizes.items())]

    def key(self) -> Any:
        """The listing alone, which begins with Python's version, unless a derived class reads it."""
        return self.listing() if type(self) is StandardLibrary else super().key()

    def __str__(self) -> str:
        return STANDARD_LIBRARY


def source_of(source: Source | str | Path) -> Source:
    """The source that a recipe means by a text: "stdlib" is the standard library, any other a path.

    A `Path` among its types keeps jsonargparse from reading the file that a text names, in search of a class.

    Raises:
        UserError: the text is empty.
    """
    if isinstance(source, Source):
        return source
    return StandardLibrary() if source == STANDARD_LIBRARY else Files(str(source))
