"""The kinds that decide what is learned from: a `Source` gives documents, a `Filter` keeps, changes or rejects them.

Whatever subclasses one of them can be named in a recipe once it is imported. Both are asked more than once, for the
tokenizer and for the tokens, so they give the same each time.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from lmkit.data.corpus.document import Document, InvalidText
from lmkit.data.corpus.identity import identity


class Item(NamedTuple):
    """One thing that a source reads, such as a file.

    Attributes:
        name: within the source.
        bytes: its size, as near as is known without reading it; 0 where nothing is known.
        version: what changes with its content, such as the time of the last change, a hash or a release.
    """

    name: str
    bytes: int
    version: int | str


class Source(ABC):
    """Where raw text comes from.

    Its options decide the cache's key: the constructor keeps each as the attribute of the same name.
    """

    @abstractmethod
    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        """Yields the documents, one at a time, in the same order each time that it is called.

        Args:
            invalid: decodes bytes (`invalid.decode`), and counts those that are not UTF-8.

        Raises:
            UserError: something cannot be read.
        """

    @abstractmethod
    def listing(self) -> list[Item]:
        """What would be read, without reading it: texts are prepared anew where the listing is another one.

        Raises:
            UserError: nothing is there.
        """

    def key(self) -> Any:
        """What tells its texts from any other source's, as plain data: class, options and listing."""
        return [*identity(self), self.listing()]

    def __str__(self) -> str:
        return type(self).__name__


class Rejected(NamedTuple):
    """That a document does not stay; documents are counted by `reason`, so that it names no document's own figures."""

    reason: str


class Filter(ABC):
    """Decides whether a document stays, and as what.

    A filter knows of no other document, since each is asked about more than once and in any order. Its options decide
    the cache's key: the constructor keeps each as the attribute of the same name.
    """

    @abstractmethod
    def __call__(self, document: Document) -> Document | Rejected:
        """The document, as it came or changed (`document._replace(text=...)`), or the reason why it does not stay."""
