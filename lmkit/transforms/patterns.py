"""Patterns of names in the options of transforms; one that matches nothing is a mistake."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from lmkit.errors import UserError
from lmkit.registry import near

Named = TypeVar("Named")


def matching(patterns: Iterable[str], named: Mapping[str, Named], where: str, what: str) -> dict[str, Named]:
    """Those whose names match one of the patterns at least.

    Args:
        patterns: of whole names; `*` stands for any letters, `?` for one, `[0-3]` for one of several.
        named: what they are compared with.
        where: the option that the patterns are in, such as `Freeze's names`.
        what: has such names, such as `parameter of the network`.

    Raises:
        UserError: a pattern matches none.
    """
    found: dict[str, Named] = {}
    for pattern in patterns:
        matched = {name: each for name, each in named.items() if fnmatchcase(name, pattern)}
        if not matched:
            close = near(pattern, named)
            meant = f"did you mean {' or '.join(close)}?" if close else f"they are called {', '.join([*named][:3])}"
            raise UserError(f"{pattern!r}, in {where}, is the name of no {what}: {meant} (* stands for any letters)")
        found |= matched
    return found
