"""Rows from files of the user's own."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmkit.data.corpus.files import SourceFile, source_files
from lmkit.data.corpus.kinds import Item
from lmkit.data.rows.json_files import read_lines, read_list
from lmkit.data.rows.kinds import Row, RowSource
from lmkit.data.rows.parquet_files import read_parquet
from lmkit.errors import UserError

_READERS = {".jsonl": read_lines, ".json": read_list, ".parquet": read_parquet}


class RowFiles(RowSource):
    """A file, a folder with all below it, or a glob of .jsonl and .json, each also as .gz or .zst, and of .parquet.

    Each line of a .jsonl file is a row, each object in the list of a .json file, each row of a .parquet file. A line
    that is broken is a row with a fault; a file of the other kinds that is broken is an error.

    Args:
        path: of the file or folder, or the glob (`**` crosses folders), from where the command runs.
    """

    def __init__(self, path: str) -> None:
        if not path:
            raise UserError('the source is empty; give a file, a folder or a glob, or "stdlib"')
        self.path = path

    def rows(self) -> Iterator[Row]:
        """Yields the rows of the files, sorted by name."""
        for file in self._files():
            yield from _READERS[file.kind](file)

    def listing(self) -> list[Item]:
        """Name, size and time in nanoseconds of each file."""
        stats = ((file.name, file.path.stat()) for file in self._files())
        return [Item(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]

    def key(self) -> Any:
        """The listing alone: the same files elsewhere are the same rows, unless a derived class reads them."""
        return self.listing() if type(self) is RowFiles else super().key()

    def __str__(self) -> str:
        return self.path

    def _files(self) -> list[SourceFile]:
        try:
            return source_files(self.path, (".jsonl", ".json"), (".parquet",))
        except UserError as error:
            if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.path) or Path(self.path).exists():
                raise
            raise UserError(f"{error} (a data set of the Hugging Face hub is named to HubRows)") from error
