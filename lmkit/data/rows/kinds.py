"""The kind `RowSource`: where the rows come from that are learned from after pretraining."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from lmkit.data.corpus.identity import identity
from lmkit.data.corpus.kinds import Item


class Row(NamedTuple):
    """One row, as its source has it.

    Attributes:
        values: by key.
        where: what errors call it, such as `chats.jsonl:12`.
        group: rows of one group fall on the same side of a split; none: their own content decides.
    """

    values: dict[str, Any]
    where: str
    group: str | None = None


class RowSource(ABC):
    """Where rows come from.

    Its options decide the cache's key: the constructor keeps each as the attribute of the same name.
    """

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Yields the rows, one at a time, in the same order each time that it is called.

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
