"""The lines of YAML that put a class into a recipe, at its top or where `places` finds a parameter for it."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml

from lmkit.cli.own_defaults import HOLDERS
from lmkit.cli.plugins.describe import Option, options, usable, where_from
from lmkit.cli.plugins.places import choices, find, reads_memory
from lmkit.kinds import KINDS, leaves
from lmkit.layers import Attention
from lmkit.network import CrossPreNorm
from lmkit.registry import PACKAGE

SIZES = {"dim": 384, "heads": 6, "context": 256, "depth": 4, "vocab_size": 8256}
"""Values for sizes that a recipe has to name; those of recipes/gpt-small.yaml, and room for token ids of a task."""

PAIRS = SIZES["dim"] // SIZES["heads"] // 2
"""Of numbers of a head that are rotated together."""

WORDS: dict[str, Any] = {
    "names": ["embedding.*"],
    "factor": 4.0,
    "short": [1.0] * PAIRS,
    "long": [4.0] * PAIRS,
    "original_context": SIZES["context"] // 2,
}
"""Values for other options that a recipe has to name, where any word or number would not do."""

ROOTS: dict[str, tuple[str, ...]] = {"task": ("model",), "data": ("data",), "callback": ("trainer", "callbacks")}
"""The kinds that a recipe names by itself, with its keys."""

_UNKNOWN = object()


def snippet(cls: type, kind: str) -> str | None:
    """A recipe to add by `-c` that uses a class; none if nothing that is known takes it, or no recipe can make it."""
    if kind in ROOTS:
        tree = part(cls, kind, 0)
        *outer, last = ROOTS[kind]
        tree = {last: [tree] if kind == "callback" else tree}
        for key in outer:
            tree = {key: tree}
    elif (place := find(cls)) is not None:
        (key, _), *around = reversed(place.path)
        inner = part(cls, kind, place.given)
        tree = {key: [inner] if place.listed else inner, **_beside(cls)}
        for key, choice in around:
            chosen = {"class_path": choice.__name__, "init_args": {**_words(choice), **tree}} if choice else None
            tree = {key: chosen or {"init_args": tree}}
    else:
        return None
    files = {"plugins": [where_from(cls)]} if cls.__module__.startswith(f"{PACKAGE}.") else {}
    return None if _lacks(tree) else str(yaml.safe_dump({**files, **tree}, sort_keys=False))


def _beside(cls: type) -> dict[str, Any]:
    """What a recipe has to say beside a class: that there are no positions, if its layers would not hear them."""
    deaf = issubclass(cls, Attention) and not (cls.hears_position or cls.reads_memory)
    return {"position": "NoPosition"} if deaf else {}


def _words(choice: type) -> dict[str, str]:
    """The words that a class cannot do without, and that no other recipe says, such as where a teacher is."""
    return {option.name: "..." for option in options(choice, 0) if option.required and option.hint is str}


def usage(cls: type, kind: str) -> str:
    """How a recipe uses a class, or that none can."""
    if yaml_lines := snippet(cls, kind):
        one = "one such as recipes/t5-small.yaml" if reads_memory(cls) else "one"
        own = ' with a value of yours for "..."' if "..." in yaml_lines else ""
        return f"In a recipe{own}, or beside {one} by a second -c:\n{textwrap.indent(yaml_lines.rstrip(), '  ')}"
    return "No task or data that is known takes it from a recipe: use it from Python, or by a task of your own."


def part(cls: type, kind: str, first: int) -> Any:
    """A class as a recipe names it, with the options that it needs and those whose default a recipe can say.

    Args:
        cls: the class.
        kind: the name of its kind.
        first: how many parameters are given.
    """
    holder = issubclass(cls, HOLDERS)  # whose parts are the rest of the recipe, which is to stay
    chosen = {
        option.name: _value(option) if option.required else _default(option)
        for option in options(cls, first)
        if option.required or (_can_be_said(option) and not (holder and isinstance(option.default, type | NoneType)))
    }
    path = _path(cls, KINDS[kind].base)
    return {"class_path": path, "init_args": chosen} if chosen else path


def required(cls: type, first: int, sizes: Mapping[str, int] = SIZES) -> dict[str, Any]:
    """Values for the options that a recipe has to name, but for the first parameters; `sizes` those of some names."""
    return {option.name: _value(option, sizes) for option in options(cls, first) if option.required}


def _path(cls: type, base: type) -> str:
    """How a recipe calls a class of a kind: by its name, unless another of the kind has it too."""
    same = [other for other in usable(base) if other.__name__ == cls.__name__]
    return cls.__name__ if len(same) == 1 else f"{cls.__module__}.{cls.__qualname__}"


def _default(option: Option) -> Any:
    """The default as a recipe says it."""
    if not isinstance(option.default, type):
        return option.default
    return next(_path(option.default, kind.base) for kind in KINDS.values() if issubclass(option.default, kind.base))


def _can_be_said(option: Option) -> bool:
    """Whether the default is null, a class of a kind, or a plain value that the type allows."""
    if isinstance(option.default, type):
        return any(option.default in choices(leaf.cls) for leaf in leaves(option.hint))
    if option.default is None:
        return option.hint is Any or type(None) in get_args(option.hint)
    kind = type(option.default)
    known = [leaf.cls for leaf in leaves(option.hint)]
    told = option.hint is Any or kind in known or (kind is int and float in known)
    return kind in (bool, int, float, str) and (told or get_origin(option.hint) is Literal)


def _value(option: Option, sizes: Mapping[str, int] = SIZES) -> Any:
    """A value for an option without default: a size, a class of the kind that it takes, or one of its type."""
    if (value := {**WORDS, **sizes}.get(option.name)) is not None:
        return value
    for leaf in leaves(option.hint):
        if get_origin(leaf.cls) is Literal:
            return get_args(leaf.cls)[0]
        if found := choices(leaf.cls):
            needed = required(found[0], leaf.given, sizes)
            if option.name == "decoder":  # which has to look at what the encoder reads
                needed["block"] = {"class_path": CrossPreNorm.__name__, "init_args": required(CrossPreNorm, 5, sizes)}
            made = {"class_path": found[0].__name__, "init_args": needed} if needed else found[0].__name__
            return [made] if leaf.within is list else made
    plain = {bool: False, int: 1, float: 1.0, str: "...", Path: "..."}
    found_plain = [leaf for leaf in leaves(option.hint) if leaf.cls in plain and leaf.within in {None, list}]
    if not found_plain:
        return _UNKNOWN
    first = plain[found_plain[0].cls]
    return [first] if found_plain[0].within else first


def _lacks(tree: Any) -> bool:
    """Whether there is a value in a recipe that it cannot say."""
    if isinstance(tree, dict | list):
        return any(map(_lacks, tree.values() if isinstance(tree, dict) else tree))
    return tree is _UNKNOWN
