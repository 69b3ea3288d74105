"""The class under check, of whatever kind: its options, and how one is made."""

from typing import Any

from lmkit.errors import UserError, located
from lmkit.testing.given import EVERY, SIZES, VALUES, Size, given, kind_of, signature
from lmkit.testing.parts import choose


def known_to_fail(cls: type) -> dict[str, str]:
    """The checks that a class says it does not pass, by name, each with the reason: its `known_to_fail`."""
    return dict(getattr(cls, "known_to_fail", {}))


def no_kind(cls: type) -> str:
    """What is said of a class that nothing can be checked of."""
    kinds = ", ".join(base.__name__ for base in EVERY)
    return f"{cls.__name__} is of no kind that can be checked: make it a subclass of one of {kinds}"


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
            raise UserError(no_kind(cls))
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
        refused = ""
        for size in SIZES:
            try:
                self.make(size)
                return size
            except UserError as error:
                refused = str(error)
            except (ValueError, AssertionError) as error:  # as others say that a size does not suit them
                refused = located(error, self.cls)
            except Exception as error:
                raise UserError(self._broken(error)) from error
        if "dim" in {parameter.name for parameter in self.parameters}:
            raise UserError(f"{self.cls.__name__} refuses every size up to dim {SIZES[-1].dim}: {refused}{self._do()}")
        raise UserError(f"{self.cls.__name__} refuses its options: {refused}{self._do()}")

    def _broken(self, error: Exception) -> str:
        """What a constructor raised, and what to do."""
        said = f"{self.cls.__name__} cannot be constructed: {located(error, self.cls)}"
        options = self.parameters[len(self.given) :]
        known = {*self.named, *self._options(SIZES[0])}
        if missing := [each.name for each in options if each.default is each.empty and each.name not in known]:
            return f"{said}: name the options that it needs: {_example(missing)}"
        if unknown := self.named.keys() - {each.name for each in options}:
            takes = ", ".join(each.name for each in options) or "no options"
            return f"{said}: leave out {', '.join(sorted(unknown))}; it takes {takes}"
        return f"{said}{self._do() or ': mend that'}"

    def _do(self) -> str:
        """How to name what was chosen for it, if anything was."""
        chosen = self._options(SIZES[0]).keys() - self.named.keys()
        return f": name what suits it in place of what was chosen: {_example(sorted(chosen))}" if chosen else ""

    def _options(self, size: Size) -> dict[str, Any]:
        """The options that are named, and for each one without a default a plain part, number or word."""
        return choose(self.cls, self.parameters[len(self.given) :], size) | self.named


def _example(names: list[str]) -> str:
    """How the command line names options."""
    return "--options='{" + ", ".join(f"{name}: ..." for name in names) + "}'"
