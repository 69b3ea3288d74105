"""The registry: plugins are imported, and the class tree is the list of what there is. No table of names.

A kind is a base class; whatever subclasses it can be named in YAML once it is imported. Plugins come from a recipe's
`plugins:` list (files, folders or modules) and from installed packages' entry points in the group `lmkit.plugins`.
"""

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from jsonargparse import ArgumentParser

from lmkit.errors import UserError

GROUP = "lmkit.plugins"
PACKAGE = "lmkit_plugins"
"""Plugin files become modules of this package, so that a file may be called like any other module."""


def load_plugins(plugins: Iterable[str]) -> None:
    """Imports plugins given as files, folders (each .py in them) or module names, then the installed entry points.

    Raises:
        UserError: one is missing or fails to import.
    """
    for plugin in plugins:
        path = Path(plugin)
        if path.is_dir():
            files = sorted(path.glob("[!_.]*.py"))
            if not files:
                raise UserError(
                    f"the plugin folder {path} holds no .py file, but for those that begin with _: correct the path, "
                    "or name a package as a module"
                )
            for file in files:
                _import_file(file)
        elif path.suffix == ".py":
            _import_file(path)
        else:
            _import(plugin, importlib.import_module, plugin)
    for entry in entry_points(group=GROUP):
        _import(f"{entry.name} of the package {entry.dist.name if entry.dist else '?'}", entry.load)


def classes(kind: type) -> dict[str, type]:
    """The concrete classes of a kind by class name, the kind's own subclasses included at any depth."""
    found: dict[str, type] = {}
    cls: type
    for cls in kind.__subclasses__():
        if not inspect.isabstract(cls):
            found[cls.__name__] = cls
        found |= classes(cls)
    return found


def near(name: str, names: Iterable[str]) -> list[str]:
    """The few names that `name` may have been meant to be, nearest first, whatever the case of the letters."""
    by_lower = {n.lower(): n for n in names}
    return [by_lower[n] for n in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)]


def origin(cls: type) -> str:
    """Where a class comes from: a module's name, or the file of a plugin."""
    if cls.__module__.startswith(PACKAGE + "."):
        return inspect.getfile(cls)
    return cls.__module__


def build(annotation: Any, config: Any) -> Any:
    """Makes what a configuration (class name, or `class_path` with `init_args`) describes, checked against its type.

    Raises:
        UserError: the configuration does not fit.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--part", type=annotation)
    try:
        return parser.instantiate(parser.parse_object({"part": config})).part
    except Exception as error:
        raise UserError(f"cannot build {config!r}: {' '.join(str(error).split())}") from error


def _import_file(path: Path) -> None:
    """Imports a plugin file, once, as a module of `PACKAGE`."""
    if not path.is_file():
        raise UserError(f"no plugin file {path}: correct the path, which is relative to the recipe or where you stand")
    name = f"{PACKAGE}.{path.stem}"
    known = sys.modules.get(name)
    if known is not None:
        if Path(known.__file__ or "") == path.resolve():
            return
        raise UserError(f"two plugin files are called {path.name}: {known.__file__} and {path}: rename one")
    sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be read as a Python module: give a .py file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        _import(str(path), spec.loader.exec_module, module)
    except UserError:
        del sys.modules[name]
        raise
    setattr(sys.modules[PACKAGE], path.stem, module)


def _import(what: str, action: Any, *args: Any) -> None:
    try:
        action(*args)
    except Exception as error:
        line = f"{type(error).__name__}: {error}"
        raise UserError(f"the plugin {what} does not import ({line}): mend it, or take it out of `plugins`") from error
