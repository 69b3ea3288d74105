"""A network's recipe with every class by the file that it is defined in, so that it can be found without a registry."""

from collections.abc import Iterator
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

from lmkit.errors import UserError
from lmkit.layers.kinds import Activation, Attention, FeedForward, Norm, Position, Router
from lmkit.network import Block, Network
from lmkit.registry import classes

KINDS = (Network, Block, Norm, Position, Attention, FeedForward, Router, Activation)


def in_full(recipe: Any) -> Any:
    """A recipe, or a value in one, whose class paths name the modules where the classes are defined.

    Raises:
        UserError: a class is unknown, or is defined within another or a function.
    """
    if isinstance(recipe, list | tuple):
        return [in_full(item) for item in recipe]
    if not isinstance(recipe, dict):
        return recipe
    full = {key: in_full(value) for key, value in recipe.items()}
    if "class_path" in recipe:
        cls = _class(recipe["class_path"])
        if "<" in cls.__qualname__ or "." in cls.__qualname__:
            raise UserError(f"{cls.__qualname__} is defined within something else: move it to the top of its file")
        full["class_path"] = f"{cls.__module__}.{cls.__qualname__}"
    return full


def classes_of(recipe: Any) -> Iterator[type]:
    """All classes that a recipe names."""
    if isinstance(recipe, dict):
        if "class_path" in recipe:
            yield _class(recipe["class_path"])
        recipe = list(recipe.values())
    if isinstance(recipe, list):
        for value in recipe:
            yield from classes_of(value)


def _class(path: str) -> type:
    found: Any = next((known[path] for kind in KINDS if path in (known := classes(kind))), None)
    if "." in path:
        with suppress(ImportError, AttributeError, ValueError):
            found = resolve_name(path)
    if found is None:
        raise UserError(f"the recipe names a class {path} that is not there: name the plugin that it is in")
    return found
