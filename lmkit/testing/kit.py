"""All checks of one class, and the table of what they found."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmkit.errors import UserError
from lmkit.registry import near, origin
from lmkit.testing.checks import CHECKS
from lmkit.testing.given import kind_of
from lmkit.testing.results import Result
from lmkit.testing.subject import Subject, known_to_fail
from lmkit.testing.subjects import subject_of
from lmkit.testing.suite import Check


def check(cls: type, options: dict[str, Any] | None = None) -> list[Result]:
    """What all checks of a class's kind find.

    Args:
        cls: a concrete class of a kind.
        options: what a recipe would name in `init_args`; its defaults otherwise.

    Raises:
        UserError: the class is of no kind, or cannot be constructed.
    """
    return [*results(subject_of(cls, options))]


def results(subject: Subject) -> Iterator[Result]:
    """What the checks find, one after another."""
    return (one(subject) for one in checks_of(subject.cls))


def checks_of(cls: type) -> list[Check]:
    """The checks that are for the kind of a class.

    Raises:
        UserError: the class says of others that they are known to fail, or does not say why.
    """
    found = [one for one in CHECKS if kind_of(cls) in one.kinds]
    for name, reason in known_to_fail(cls).items():
        said = f"known_to_fail of {cls.__name__}"
        if name not in {one.name for one in found}:
            close = near(name, {one.name for one in found})
            meant = f"did you mean {', '.join(close)}?" if close else "name one of the table of `lmkit plugins check`"
            raise UserError(f"{said} has {name!r}, which is no check of it: {meant}")
        if not reason:
            raise UserError(f"{said} gives no reason for {name!r}: write one")
    return found


def title(subject: Subject) -> str:
    """What is checked, where it comes from, and how."""
    options = ", ".join(f"{name}={_named(value)}" for name, value in subject.options.items())
    return ", ".join(filter(None, (place(subject.cls, f"({options})"), subject.told())))


def place(cls: type, options: str = "") -> str:
    """A class, its kind, and where it comes from."""
    file = os.path.relpath(source) if (source := origin(cls)).endswith(".py") else source
    return f"{cls.__name__}{options}, {getattr(kind_of(cls), '__name__', 'of no kind')} of {file}"


def table(found: list[Result]) -> str:
    """Results as aligned text, with a last line that counts them."""
    rows = [(one.check, one.status, one.figure, one.said) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows]
    count = {status: sum(one.status == status for one in found) for status in ("pass", "fail", "n/a", "known")}
    last = f"{count['pass']} passed, {count['fail']} failed, {count['n/a']} not applicable"
    last += f", {count['known']} known to fail" * bool(count["known"])
    return "\n".join([*(f"  {line.rstrip()}" for line in lines), last])


def _named(value: Any) -> str:
    """An option as text; a recipe by the name of its class."""
    value = getattr(value, "func", value)
    return value.__name__ if isinstance(value, type) else repr(str(value) if isinstance(value, Path) else value)
