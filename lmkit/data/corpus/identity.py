"""What tells a part, such as a filter, from any other: its class, the file that a plugin's class is in, its options."""

import inspect
import sys
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lmkit.errors import UserError

_PLAIN = (bool, int, float, str, type(None))


def identity(part: object) -> list[Any]:
    """A part's class, a hash of the files with the code that it does not have from lmkit or Python, and its options.

    Raises:
        UserError: the part does not keep an option, or its code is in no file.
    """
    cls = type(part)
    return [f"{cls.__module__}.{cls.__qualname__}", code_of(cls.__mro__), _options(part)]


def code_of(classes: Iterable[type]) -> list[str]:
    """A hash of the file of each class, but for lmkit's and Python's own: a `FORMAT` stands for the code of those.

    Raises:
        UserError: the code of one is in no file.
    """
    foreign = [cls for cls in classes if not _is_known(cls)]
    return [blake2b(_file(part).read_bytes(), digest_size=16).hexdigest() for part in foreign]


def _is_known(cls: type) -> bool:
    """Whether a class is lmkit's or Python's own."""
    top = cls.__module__.partition(".")[0]
    return top == "lmkit" or (top in sys.stdlib_module_names and top != "__main__")


def _file(cls: type) -> Path:
    try:
        file = Path(inspect.getfile(cls))
    except (TypeError, OSError):
        file = Path()
    if not file.is_file():
        raise UserError(f"{cls.__name__} is defined in no file, by which its versions are told apart: put it into one")
    return file


def _options(part: object) -> dict[str, Any]:
    """What the constructor's parameters were, as attributes of the same names tell."""
    found = {}
    for name in inspect.signature(type(part)).parameters:
        if not hasattr(part, name):
            raise UserError(
                f"{type(part).__name__} does not keep its option {name}, by which prepared texts are told apart:"
                f" set self.{name} in its constructor"
            )
        found[name] = _plain(getattr(part, name), f"{type(part).__name__}.{name}")
    return found


def _plain(value: Any, where: str) -> Any:
    """A value as JSON can hold it; a part within a part by its own identity."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return [[_plain(key, where), _plain(part, where)] for key, part in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(part, where) for part in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(part, where) for part in value), key=repr)
    if _is_known(type(value)) and not type(value).__module__.startswith("lmkit."):
        raise UserError(
            f"{where} is a {type(value).__name__}, which has no fixed text: keep what it is made of instead"
        )
    return identity(value)
