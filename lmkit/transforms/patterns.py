"""Patterns of names in the options of transforms; one that matches nothing is a mistake.

What is numbered may be counted from its end: `blocks.-1.*` is what `blocks.3.*` is in a network of four blocks.
"""

import re
from collections import defaultdict
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
    calls = from_end(named)
    for pattern in patterns:
        matched = {name: each for name, each in named.items() if matches(pattern, name, calls)}
        if not matched:
            close = near(pattern, named)
            meant = f"did you mean {' or '.join(close)}?" if close else f"they are called {', '.join([*named][:3])}"
            raise UserError(f"{pattern!r}, in {where}, is the name of no {what}: {meant} (* stands for any letters)")
        found |= matched
    return found


def matches(pattern: str, name: str, calls: Mapping[str, str]) -> bool:
    """Whether a pattern is one of a name, or of what `from_end` calls it."""
    return fnmatchcase(name, pattern) or (name in calls and fnmatchcase(calls[name], pattern))


def from_end(names: Iterable[str]) -> dict[str, str]:
    """Names in which something is numbered, and what they are if the first number is counted from the end."""
    split = {name: found for name in names if (found := re.fullmatch(r"(.*?\.)(\d+)(\..*)", name))}
    counts: dict[str, int] = defaultdict(int)
    for found in split.values():
        counts[found[1]] = max(counts[found[1]], int(found[2]) + 1)
    return {name: f"{found[1]}{int(found[2]) - counts[found[1]]}{found[3]}" for name, found in split.items()}
