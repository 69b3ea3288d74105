"""Template, a row source: write here where its rows come from, and under which terms."""

import csv
from collections.abc import Iterator
from pathlib import Path

from lmkit.data.corpus import Item
from lmkit.data.rows import Row, RowSource
from lmkit.errors import UserError


class Template(RowSource):
    """The rows of one CSV file (RFC 4180), whose first line names the columns.

    Args:
        path: of the file.
        group: the column whose value rows have in common that must not be parted by a split; empty for none.
    """

    def __init__(self, path: str, group: str = "") -> None:
        # Each option is kept under its own name: by them prepared rows are told apart.
        self.path, self.group = path, group

    def rows(self) -> Iterator[Row]:
        """Yields one row after the other; one with too few or too many values is a fault."""
        with self._file().open(encoding="utf-8", errors="replace", newline="") as file:
            lines = csv.reader(file)
            names = next(lines, [])
            if self.group and self.group not in names:
                raise UserError(f"{self.path} has no column {self.group}: let group be one of {', '.join(names)}")
            for number, values in enumerate(lines, 1):
                if not values:  # a blank line
                    continue
                where = f"{self.path}, row {number}"
                if len(values) != len(names):
                    yield Row({}, where, fault=f"it has {len(values)} values for {len(names)} columns: mend it")
                else:
                    found = dict(zip(names, values, strict=True))
                    yield Row(found, where, found.get(self.group))

    def listing(self) -> list[Item]:
        """The file's size and time: once they change, its rows are prepared anew."""
        stat = self._file().stat()
        return [Item(self.path, stat.st_size, stat.st_mtime_ns)]

    def _file(self) -> Path:
        file = Path(self.path)
        if not file.is_file():
            raise UserError(f"no file {file}: give the path of one as the source's path")
        return file
