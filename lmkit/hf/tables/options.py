"""Options of parts: which a class has, what they are where a recipe leaves them open, and dotted names to and fro."""

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from torch import nn

import lmkit.layers
import lmkit.network
from lmkit.registry import is_own

_CLOSED: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("SelfAttention", "kv_heads"): lambda part: part.k.out_features // part.head_dim,
    ("SelfAttention", "head_dim"): lambda part: part.head_dim,
    ("SelfAttention", "scale"): lambda part: part.head_dim**-0.5,
    ("SelfAttention", "out_bias"): lambda part: part.out.bias is not None,
    ("LatentAttention", "kv_rank"): lambda part: part.kv_rank,
    ("LatentAttention", "nope_dim"): lambda part: part.nope_dim,
    ("LatentAttention", "rope_dim"): lambda part: part.rope_dim,
    ("LatentAttention", "v_dim"): lambda part: part.v_dim,
    ("LatentAttention", "scale"): lambda part: part.scale,
    ("MLP", "hidden"): lambda part: part.up.out_features,
    ("Gated", "hidden"): lambda part: part.up.out_features,
    ("MixtureOfExperts", "hidden"): lambda part: part.up.weight.size(1),
    ("RotaryLong", "attention_factor"): lambda part: part.amplitude,
    ("Rotary", "width"): lambda part: part.width,
    ("RotaryYaRN", "original_context"): lambda part: part.original_context,
    ("RotaryYaRN", "attention_factor"): lambda part: part.amplitude,
}
"""How a layer closes an option that its recipe leaves open, read from what it has made."""


def class_of(name: str) -> type:
    """The class of this name: a built-in part's own, or with its module."""
    module, _, last = name.rpartition(".")
    if module:
        return getattr(import_module(module), last)
    return getattr(lmkit.layers, last, None) or getattr(lmkit.network, last)


def name_of(class_path: str) -> str:
    """The name by which a class is compared: that of a built-in part by itself, any other's with its module."""
    cls = class_of(class_path)
    return cls.__name__ if is_own(cls) else f"{cls.__module__}.{cls.__name__}"


def is_part(value: Any) -> bool:
    """Whether a value is the name of a part."""
    if not isinstance(value, str):
        return False
    return "." in value or isinstance(getattr(lmkit.layers, value, None) or getattr(lmkit.network, value, None), type)


def of_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a part as a recipe has it, and the defaults of those that it leaves out, parts as in a recipe."""
    given = config.get("init_args") or {}
    parameters = inspect.signature(class_of(config["class_path"])).parameters.values()
    stated = {p.name: _as_config(p.default) for p in parameters if p.default is not p.empty}
    return stated | {name: _as_config(value) for name, value in given.items()}


def defaults(name: str, but: Collection[str] = ()) -> dict[str, Any]:
    """The defaults of a class by dotted names, those of the parts in them too."""
    return {
        option: value
        for first, config in of_part({"class_path": name}).items()
        if first not in but
        for option, value in flat(first, config).items()
    }


def flat(name: str, config: Any, made: nn.Module | None = None) -> dict[str, Any]:
    """A value, or a part with all its options, by dotted names.

    Args:
        name: its own.
        config: as in a recipe.
        made: the part as it was built, by which options are closed; none leaves them open.
    """
    if not isinstance(config, Mapping) or "class_path" not in config:
        return {name: config}
    found: dict[str, Any] = {name: name_of(config["class_path"])}
    for option, value in of_part(config).items():
        inner = getattr(made, option, None)
        found |= flat(f"{name}.{option}", closed(made, option) if value is None else value, inner)
    return found


def closed(made: nn.Module | None, option: str) -> Any:
    """What a layer has made of an option that was left open; none where that says what it is."""
    for cls in type(made).__mro__:
        if how := _CLOSED.get((cls.__name__, option)):
            return how(made)
    return None


def nested(names: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted names as a recipe has them."""
    found: dict[str, Any] = {}
    for name, value in sorted(names.items(), key=lambda item: item[0].count(".")):  # a part before its options
        *outer, last = name.split(".")
        place = found
        for part in outer:
            place = place[part].setdefault("init_args", {})
        place[last] = {"class_path": value} if is_part(value) else value
    return found


def _as_config(value: Any) -> Any:
    """A default as a recipe would say it."""
    if isinstance(value, partial):
        return {"class_path": _path(value.func), "init_args": dict(value.keywords)}
    return {"class_path": _path(value)} if isinstance(value, type) else value


def _path(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__name__}"
