"""What must be there is not `null`, which jsonargparse lets pass for the options of a class."""

import inspect
from pkgutil import resolve_name
from types import UnionType
from typing import Any, Union, get_args, get_origin

from jsonargparse import Namespace

from lmkit.cli.plugins.describe import type_in_words
from lmkit.errors import UserError
from lmkit.kinds import KINDS, hints, leaves


def refuse_nulls(config: Any, key: str = "") -> None:
    """Looks through a parsed recipe.

    Args:
        config: the recipe, or something within it.
        key: where that is.

    Raises:
        UserError: an option is null whose type does not allow it.
    """
    if isinstance(config, list):
        for entry in config:
            refuse_nulls(entry, key)
    elif isinstance(config, Namespace):
        path = config.get("class_path")
        needed = _needed(resolve_name(path)) if path else {}
        for name, value in vars(config.get("init_args", config)).items():
            place = f"{key}.{name}".lstrip(".")
            if value is None and name in needed:
                raise UserError(f"{place} is null, but {_remedy(needed[name])}")
            refuse_nulls(value, place)


def _needed(cls: type) -> dict[str, Any]:
    """The options of a class that cannot be null, with their types."""
    types = hints(cls)
    parameters = inspect.signature(cls).parameters if types else {}  # classes written in C may have no signature
    return {
        name: hint
        for name, hint in types.items()
        if name in parameters and parameters[name].default is not None and not _allows_null(hint)
    }


def _allows_null(hint: Any) -> bool:
    if get_origin(hint) in {Union, UnionType}:
        return any(map(_allows_null, get_args(hint)))
    return hint in {Any, object, type(None)}


def _remedy(hint: Any) -> str:
    made = [leaf.cls for leaf in leaves(hint) if isinstance(leaf.cls, type)]
    kinds = [name for name, kind in KINDS.items() if any(issubclass(cls, kind.base) for cls in made)]
    if kinds:
        return f"must be there: choose a class, `lmkit plugins list {kinds[0]}` lists them"
    return f"it must be {type_in_words(hint)}: correct its value"
