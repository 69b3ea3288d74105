"""Values of a config.json: that they are there, and of the kind that they have to be."""

import math
import sys
from collections.abc import Callable
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.shown import says

Config = dict[str, Any]
Default = Any | Callable[[Config], Any]
"""A value, or what gives one by the other keys."""

_FAR = 2**63
"""No size reaches it, and torch takes none beyond."""

NEEDED: Any = object()
"""The default of a key that a config must have."""


def value_of(config: Config, key: str, default: Default) -> Any:
    """What a config says, or the default where it says nothing or null.

    Raises:
        UserError: it says nothing and has to.
    """
    value = config.get(key)
    if value is not None:
        return value
    if default is NEEDED:
        raise UserError(f"config.json has no {key}, which its family needs: give the folder's own config.json, whole")
    return default(config) if callable(default) else default


def checked(config: Config, key: str, kind: type, least: int = 1) -> Any:
    """What a config says, which has to be of some kind.

    Args:
        config: that has the key.
        key: of which.
        kind: `int`, `float` (also whole, and above 0) or `bool`.
        least: the least of whole numbers.

    Raises:
        UserError: it is of another kind, or too small.
    """
    value = config[key]
    if kind is float:
        fits, named = is_number(value) and 0 < value < math.inf, "a number above 0"
    else:
        fits = type(value) is kind and (isinstance(value, bool) or (isinstance(value, int) and least <= value < _FAR))
        named = "true or false" if kind is bool else f"a whole number, {least} or more"
    if not fits:
        raise UserError(f"{says(key, value)}, but it has to be {named}: correct it there")
    return value


def needed(config: Config, key: str) -> int:
    """A whole number that a config has to say.

    Raises:
        UserError: it does not, or says something else.
    """
    value_of(config, key, NEEDED)
    return int(checked(config, key, int))


def is_number(value: Any) -> bool:
    """Whether a value is one, which true and false are not, and what is infinite or past all floats."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
