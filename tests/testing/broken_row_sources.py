"""Row sources that break the contract, each in one way."""

import json
from pathlib import Path

from lmkit.data.corpus import Item
from lmkit.data.rows import Row, RowSource


class JsonRows(RowSource):
    """Is sound: each line of a file is a row; the others are made of it.

    Args:
        path: of the file.
        least: letters that a line needs.
    """

    def __init__(self, path: str, least: int = 1) -> None:
        self.path, self.least = path, least

    def rows(self):
        for number, line in enumerate(Path(self.path).read_bytes().splitlines(), 1):
            if len(line) >= self.least:
                yield self.row(line, f"{self.path}, row {number}")

    def row(self, line, where):
        try:
            return Row(json.loads(line), where)
        except ValueError as error:
            return Row({}, where, fault=str(error))

    def listing(self):
        stat = Path(self.path).stat()
        return [Item(self.path, stat.st_size, stat.st_mtime_ns)]


class BrokenRowValues(JsonRows):
    """Gives the line beside its values."""

    def rows(self):
        for row in super().rows():
            yield row._replace(values=[*row.values.items()])


class BrokenRowNames(JsonRows):
    """Names the file only."""

    def rows(self):
        for row in super().rows():
            yield row._replace(where=self.path)


class BrokenRowHalves(JsonRows):
    """Yields half characters."""

    def rows(self):
        for row in super().rows():
            yield row._replace(values=row.values and row.values | {"half": "\ud83d"})


class BrokenRowOrder(JsonRows):
    """Turns around each time."""

    times = 0

    def rows(self):
        self.times += 1
        yield from [*super().rows()][:: (-1) ** (self.times // 2)]


class BrokenRowEnd(JsonRows):
    """Stops at a line that is broken."""

    def row(self, line, where):
        return Row(json.loads(line), where)


class BrokenRowLoss(JsonRows):
    """Ends silently at a line that is broken."""

    def rows(self):
        for row in super().rows():
            yield row
            if row.fault:
                return


class BrokenRowListing(JsonRows):
    """Reads the rows to list them."""

    def listing(self):
        number = len([*self.rows()])
        return [Item(self.path, number, Path(self.path).stat().st_mtime_ns)]


class BrokenRowKey(JsonRows):
    """Leaves its options out of its key."""

    def key(self):
        return self.listing()


class BrokenRowOpen(JsonRows):
    """Keeps a function that has no name.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.filter = lambda row: row
