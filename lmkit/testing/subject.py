"""The class under check, of whatever kind: its options, and how one is made."""

from typing import Any

from lmkit.errors import UserError
from lmkit.testing.given import EVERY, SIZES, VALUES, Size, given, kind_of, signature
from lmkit.testing.parts import choose
from lmkit.testing.results import clean


class Subject:
    """A class with its options, at the first size of `SIZES` that its constructor accepts.

    Args:
        cls: a concrete class of one of the kinds.
        options: what a recipe would name in `init_args`; parts, numbers and words without a default may be left out.

    Raises:
        UserError: the class is of no kind, or no size suits it.
    """

    def __init__(self, cls: type, options: dict[str, Any] | None = None) -> None:
        kind = kind_of(cls)
        if kind is None:
            kinds = ", ".join(base.__name__ for base in EVERY)
            raise UserError(f"{cls.__name__} is of no kind that can be checked: make it a subclass of one of {kinds}")
        self.cls, self.kind, self.named = cls, kind, dict(options or {})
        self.given, self.parameters = given(kind), signature(cls)
        self.size = self._suitable()
        self.options = self._options(self.size)

    def make(self, size: Size | None = None, /, *first: Any, **changes: Any) -> Any:
        """A fresh one, as its constructor leaves it.

        Args:
            size: what it is given is of this size; none for the one that suits.
            first: stands in the place of what it is given.
            changes: of its options.
        """
        size = size or self.size
        values = first or tuple(VALUES[name](size) for name in self.given)
        return self.cls(*values, **self._options(size) | changes)

    def has(self, option: str) -> bool:
        """Whether the constructor takes an option of this name."""
        return any(parameter.name == option for parameter in self.parameters)

    def told(self) -> str:
        """How it is checked, for the title of its table; empty if there is nothing to choose."""
        return ""

    def _suitable(self) -> Size:
        refused = None
        for size in SIZES:
            try:
                self.make(size)
                return size
            except UserError as error:
                refused = error
            except Exception as error:
                why = str(error) if isinstance(error, TypeError) else clean(error)
                do = "name the options that it needs, as in --options='{size: 3}'"
                raise UserError(f"{self.cls.__name__} cannot be constructed: {why}: {do}") from error
        if "dim" in {parameter.name for parameter in self.parameters}:
            raise UserError(f"{self.cls.__name__} refuses every size up to dim {SIZES[-1].dim}: {refused}")
        raise UserError(f"{self.cls.__name__} refuses its options: {refused}")

    def _options(self, size: Size) -> dict[str, Any]:
        """The options that are named, and for each one without a default a plain part, number or word."""
        return choose(self.cls, self.parameters[len(self.given) :], size) | self.named
