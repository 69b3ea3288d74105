"""The classes of a kind, where each comes from, which names are near, and how one is built from a configuration."""

import difflib
import inspect
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from importlib.metadata import entry_points, packages_distributions, version
from typing import Any

from jsonargparse import ArgumentParser
from torch import nn

from lmkit.errors import UserError
from lmkit.registry.loading import GROUP, PACKAGE, hint_of_failures, top_of

OWN = ("lmkit", "torch", "lightning", "pytorch_lightning")
"""The packages whose classes are known without any plugin."""


def classes(kind: type) -> dict[str, type]:
    """The concrete classes of a kind by class name, the kind's own subclasses included at any depth."""
    return {cls.__name__: cls for cls in concrete(kind)}


def concrete(kind: type) -> Iterator[type]:
    """The classes of a kind that can be used, each once: not the abstract ones, nor modules without a forward."""
    seen: set[type] = {kind}
    waiting = [kind]
    while waiting:
        cls = waiting.pop()
        other: type
        for other in cls.__subclasses__():
            if other not in seen:
                seen.add(other)
                waiting.append(other)
        unfinished = issubclass(cls, nn.Module) and cls.forward is nn.Module.forward
        if cls is not kind and not inspect.isabstract(cls) and not unfinished:
            yield cls


def check_names(kinds: Iterable[type], plugins: Collection[str]) -> None:
    """Looks whether a name means one class within each kind, where plugins have added theirs.

    Args:
        kinds: the base classes.
        plugins: the modules and packages that were loaded as plugins, as `load_plugins` gives them.

    Raises:
        UserError: a plugin's class is called as another plugin's, or as one that is built in.
    """
    for kind in kinds:
        known: dict[str, type] = {}
        for cls in concrete(kind):
            if not _of(cls, (*plugins, *OWN)):
                continue
            other = known.setdefault(cls.__name__, cls)
            if other is not cls and (_of(cls, plugins) or _of(other, plugins)):
                one, another = sorted((_full_source(other), _full_source(cls)))
                raise UserError(
                    f"two classes of the kind {kind.__name__} are called {cls.__name__}: one is {one}, the other "
                    f"{another}: rename one, or leave one of the plugins out"
                )


def near(name: str, names: Iterable[str]) -> list[str]:
    """The few names that `name` may have been meant to be, nearest first, whatever the case of the letters."""
    by_lower = {n.lower(): n for n in names}
    return [by_lower[n] for n in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]


def origin(cls: type) -> str:
    """Where a class comes from: a module's name, or the file of a plugin."""
    if cls.__module__.startswith(PACKAGE + "."):
        return inspect.getfile(cls)
    return cls.__module__


def source(cls: type) -> str:
    """Who has made a class: `built-in`, the file of a plugin, or a package and its version."""
    top = cls.__module__.partition(".")[0]
    if top == "lmkit":
        return "built-in"
    if top == PACKAGE:
        return inspect.getfile(cls)
    return _package_of(top) or cls.__module__


def build(annotation: Any, config: Any) -> Any:
    """Makes what a configuration (class name, or `class_path` with `init_args`) describes, checked against its type.

    Raises:
        UserError: the configuration does not fit.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--part", type=annotation)
    try:
        return parser.instantiate(parser.parse_object({"part": config})).part
    except UserError:  # which the part itself has raised, of its own options
        raise
    except Exception as error:
        told = " ".join(str(error).split())
        raise UserError(f"cannot build {config!r}: {told}{hint_of_failures()}") from error


def is_own(cls: type, plugins: Collection[str] = ()) -> bool:
    """Whether a class is known without any plugin: lmkit's, torch's or Lightning's; or is one of these plugins'."""
    return _of(cls, (*plugins, *OWN))


def _of(cls: type, modules: Iterable[str]) -> bool:
    """Whether a class is defined in one of these modules or packages."""
    return any(f"{cls.__module__}.".startswith(f"{module}.") for module in modules)


def _full_source(cls: type) -> str:
    told = source(cls)
    return told if told == origin(cls) else f"{told} ({cls.__module__})"


@cache
def _package_of(top: str) -> str | None:
    """The distribution that a top-level module was installed with, and its version."""
    for entry in entry_points(group=GROUP):
        if entry.dist and top_of(entry) == top:
            return f"{entry.dist.name} {entry.dist.version}"
    found = packages_distributions().get(top)
    return f"{found[0]} {version(found[0])}" if found else None
