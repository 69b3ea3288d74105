"""What a class tells about itself: its summary, its paper, and its options with their types, defaults and help."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docstring_parser import parse

from lmkit.errors import UserError
from lmkit.kinds import KINDS, Kind, hints, leaves
from lmkit.registry import concrete, hint_of_failures, near, source


class Option(NamedTuple):
    """A parameter of a constructor that a recipe sets.

    Attributes:
        name: in YAML.
        hint: its type; `Any` where it is not told.
        default: `inspect.Parameter.empty` where there is none, so that a recipe has to name it.
        help: from the docstring.
    """

    name: str
    hint: Any
    default: Any
    help: str

    @property
    def required(self) -> bool:
        """Whether a recipe has to name it."""
        return self.default is inspect.Parameter.empty


def find_classes(name: str) -> list[tuple[str, type]]:
    """The classes of this name, each with the name of its kind.

    Raises:
        UserError: there is none.
    """
    known = [(kind, cls) for kind, (base, _) in KINDS.items() for cls in usable(base)]
    found = [(kind, cls) for kind, cls in known if cls.__name__ == name]
    if found:
        return found
    if name.endswith(".py"):
        raise UserError(f"{name} is a file: name a class in it, as in `lmkit plugins show MyNorm --plugins={name}`")
    kinds = {cls.__name__: kind for kind, cls in known}
    close = " or ".join(f"{other} ({kinds[other]})" for other in near(name, kinds))
    remedy = f"did you mean {close}?" if close else "`lmkit plugins list` shows all"
    raise UserError(f"no class is called {name}{hint_of_failures()}: {remedy} (of a plugin's file: add --plugins=...)")


def usable(base: type) -> list[type]:
    """The concrete classes of a kind that are no library's private ones: built in first, then by name."""
    found = [cls for cls in concrete(base) if not cls.__name__.startswith("_")]
    return sorted(found, key=lambda cls: (not cls.__module__.startswith("lmkit."), cls.__name__))


def summary(cls: type) -> str:
    """The first paragraph of a class's own docstring, in one line."""
    own = inspect.cleandoc(cls.__doc__ or "")
    return " ".join(re.split(r"\n\s*\n", own)[0].split())


def paper(cls: type) -> str:
    """The first arXiv number that a class, or else its module, names; empty if there is none."""
    module = inspect.getmodule(cls)
    for text in (cls.__doc__, module and module.__doc__):
        if found := re.search(r"arXiv:\s*(\d{4}\.\d{4,5})", text or ""):
            return found[1]
    return ""


def where_from(cls: type) -> str:
    """Who has made a class; the file of a plugin from where we stand, if it is below."""
    told = source(cls)
    path = Path(told)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else told


def given(cls: type, kind: Kind) -> list[str]:
    """The parameters that come first and that no recipe sets."""
    return [parameter.name for parameter in _parameters(cls)][: len(kind.given)]


def options(cls: type, first: int) -> list[Option]:
    """The parameters after the `first` ones."""
    types, helps = hints(cls), _helps(cls)
    return [
        Option(p.name, types.get(p.name, Any), p.default, helps.get(p.name, ""))
        for p in [*_parameters(cls)][first:]
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def type_in_words(hint: Any) -> str:
    """A type as it is written, without the modules of its names; what makes a part is called by the part's class."""
    if "Callable[" in str(hint):
        names = [(leaf.within, getattr(leaf.cls, "__name__", str(leaf.cls))) for leaf in leaves(hint)]
        text = " | ".join(f"{within.__name__}[{name}]" if within else name for within, name in names)
    else:
        text = hint.__name__ if type(hint) is type else str(hint)
    return re.sub(r"\b(?:\w+\.)+(\w)", r"\1", text).replace("NoneType", "None")


def value_in_words(value: Any) -> str:
    """A default as a recipe would say it."""
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, type):
        return value.__name__
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _parameters(cls: type) -> Iterator[inspect.Parameter]:
    return (p for p in inspect.signature(cls).parameters.values() if p.name != "self")


def _helps(cls: type) -> dict[str, str]:
    """What the docstrings of a class, of its constructor and of those that it inherits from say of each parameter."""
    found: dict[str, str] = {}
    for part in cls.__mro__:
        for text in (part.__doc__, getattr(vars(part).get("__init__"), "__doc__", None)):
            for told in parse(text or "").params:
                found.setdefault(told.arg_name, " ".join((told.description or "").split()))
    return found
