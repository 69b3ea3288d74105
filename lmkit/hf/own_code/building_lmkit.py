"""Builds a network from its recipe, by the types of the constructors alone: no parser is needed to load a model."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import is_dataclass
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints


def build(recipe: dict[str, Any]) -> Any:
    """What a recipe (`class_path` with `init_args`) describes."""
    return _make(find(recipe["class_path"]), _options(recipe))


def find(path: str) -> Any:
    """What `module.name` means: of the files beside this one where there is one for the module, as in an exported
    folder, and else of an installed package.
    """
    module, _, name = path.rpartition(".")
    beside = f"{__package__}.{flat_name(module)}"
    there = importlib.util.find_spec(beside) is not None
    return getattr(importlib.import_module(beside if there else module), name)


def flat_name(module: str) -> str:
    """How the file of a module is called in an exported folder, without `.py`."""
    own, _, name = module.rpartition(".")
    return name if own == "lmkit.hf.own_code" else module.replace(".", "_")


def _make(cls: Any, options: dict[str, Any], *given: Any) -> Any:
    """A part, of what the network gives first and the options of the recipe."""
    signed: Any = cls
    types = get_type_hints(signed.__init__ if isinstance(cls, type) else signed)
    return cls(*given, **{name: _value(types.get(name, Any), option) for name, option in options.items()})


def _options(recipe: dict[str, Any]) -> dict[str, Any]:
    return {**(recipe.get("init_args") or {}), **(recipe.get("dict_kwargs") or {})}


def _value(kind: Any, value: Any) -> Any:
    """An option as the constructor is given it; where its type is one of what can be called, a part yet to be made."""
    kind = _choose(kind, value)
    inner = get_args(kind)
    origin = get_origin(kind) or kind
    if isinstance(value, dict) and "class_path" in value:
        make = partial(_make, find(value["class_path"]), _options(value))
        return make if origin is Callable else make()
    if isinstance(value, dict) and is_dataclass(kind):
        return _make(kind, value)
    if isinstance(value, dict) and len(inner) == 2:
        return {key: _value(inner[1], item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_value(inner[0] if inner else Any, item) for item in value]
        return origin(items) if origin in {tuple, set, frozenset} else items
    if isinstance(value, str) and origin in {Callable, type}:
        return find(value)
    return kind[value] if isinstance(value, str) and isinstance(kind, type) and issubclass(kind, Enum) else value


def _choose(kind: Any, value: Any) -> Any:
    """Of several types that an option may have, the one that it has."""
    if get_origin(kind) not in {Union, UnionType}:
        return kind
    kinds = [one for one in get_args(kind) if one is not NoneType]
    fitting = [one for one in kinds if _may_be(one, value)]
    return (fitting or kinds)[0]


def _may_be(kind: Any, value: Any) -> bool:
    origin = get_origin(kind) or kind
    if isinstance(value, dict):
        part = "class_path" in value
        return (origin is Callable or isinstance(kind, type)) if part else (is_dataclass(kind) or origin is dict)
    if isinstance(value, list):
        return origin in {list, tuple, set, frozenset} or getattr(origin, "__name__", "") in {"Sequence", "Iterable"}
    return isinstance(origin, type) and isinstance(value, origin)
