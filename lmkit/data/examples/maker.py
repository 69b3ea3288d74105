"""What makes encoded examples of rows, once these are read: one class for each kind of data."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from lmkit.data.chat_templates.encoder import ChatEncoder, Encoded, Lesson


class Example(NamedTuple):
    """What becomes of a row.

    Attributes:
        pieces: of tokens.
        bytes: of the text that is learned, in UTF-8.
        numbers: beside the pieces.
        cut: whether something of the row was left out.
        rewritten: answers that are in it and not learned, as the template changes them when more messages come.
    """

    pieces: Sequence[Encoded]
    bytes: int
    numbers: Sequence[float] = ()
    cut: bool = False
    rewritten: int = 0


class Maker(ABC):
    """What makes examples of what was read; its constructor keeps each option as the attribute of the same name."""

    kind: ClassVar[type | tuple[type, ...]]
    """What rows are read as, or any of several."""
    pieces: ClassVar[int]
    """Of each example."""
    numbers: ClassVar[int] = 0
    """Of each example beside its pieces."""
    noun: ClassVar[str]
    """What the examples are called, many of them."""

    def values(self, value: Any) -> Iterable[Any]:
        """What a row means, as one or more values of which each is an example."""
        return (value,)

    def look(self, values: Iterator[Any]) -> None:  # noqa: B027 (most need not)
        """Sees all that is to train on, before the first example is made."""

    def facts(self) -> dict[str, Any]:
        """What else is kept of all examples, as JSON holds it."""
        return {}

    def check_learnable(self, value: Any) -> None:  # noqa: B027 (as a rule, what can be read can be learned)
        """Looks at a row of the source, of which some are to train on; others may be there for `predict` alone.

        Raises:
            UserError: nothing can be learned of it, though something may be predicted.
        """

    @abstractmethod
    def marked(self, encoder: ChatEncoder, value: Any) -> list[Lesson]:
        """The texts of a row.

        Raises:
            UserError: the row cannot be written.
        """

    @abstractmethod
    def example(self, encoder: ChatEncoder, value: Any, texts: Sequence[Lesson], encoded: Sequence[Encoded]) -> Example:
        """The example of a row, given its texts and their tokens.

        Raises:
            UserError: there is none, as when it is too long.
        """
