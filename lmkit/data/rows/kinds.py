"""The kind `RowSource`: where rows come from, such as conversations or pairs of answers that somebody has written down.

What a row means is not told here: `lmkit/data/conversations/` reads that out of its keys.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from lmkit.data.corpus.identity import identity
from lmkit.data.corpus.kinds import Item


class Row(NamedTuple):
    """One row of a file or a data set.

    Attributes:
        values: by key, or by the name of the column.
        where: the row in words, "chats.jsonl, row 12"; rows count from 1.
        group: rows of one group fall on the same side of a split; none: their content decides.
        fault: why the row could not be read, so that it has no values; none where it could.
    """

    values: dict[str, Any]
    where: str
    group: str | None = None
    fault: str | None = None


class RowSource(ABC):
    """Where rows come from.

    Its options decide the cache's key: the constructor keeps each as the attribute of the same name.
    """

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Yields the rows, one at a time, in the same order each time that it is called.

        A row that is broken is one with a `fault`, whose reader decides whether to go on.

        Raises:
            UserError: something cannot be read.
        """

    @abstractmethod
    def listing(self) -> list[Item]:
        """What would be read, without reading it: rows are prepared anew where the listing is another one.

        Raises:
            UserError: nothing is there.
        """

    def key(self) -> Any:
        """What tells its rows from any other source's, as plain data: class, options and listing."""
        return [*identity(self), self.listing()]

    def __str__(self) -> str:
        return type(self).__name__
