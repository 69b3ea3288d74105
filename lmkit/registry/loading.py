"""Imports plugins: files, folders and modules that a recipe names, and the entry points of installed packages.

A plugin that is named has to import. One that is merely installed may be broken without stopping anybody: it is told on
standard error, and again wherever a class name is unknown.
"""

import gc
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from lmkit.errors import UserError

GROUP = "lmkit.plugins"
PACKAGE = "lmkit_plugins"
"""Plugin files become modules of this package, so that a file may be called like any other module."""


class Failure(NamedTuple):
    """A plugin that could not be loaded.

    Attributes:
        plugin: its file or module, or the name of its entry point with package and version.
        reason: what happened, and where.
        message: the same in a sentence that says what to do.
        installed: whether it is an installed package's rather than named by somebody.
    """

    plugin: str
    reason: str
    message: str
    installed: bool = False


FAILURES: list[Failure] = []
"""Those of the last loading."""


def load_plugins(plugins: Iterable[str]) -> set[str]:
    """Imports plugins given as files, folders (each .py in them) or module names, then the installed entry points.

    Returns:
        The modules and packages that hold them.

    Raises:
        UserError: one that is given is missing or fails to import.
    """
    loaded = try_plugins(plugins)
    for failure in FAILURES:
        if not failure.installed:
            raise UserError(failure.message)
        print(f"lmkit: warning: {failure.message}", file=sys.stderr)
    return loaded


def try_plugins(plugins: Iterable[str]) -> set[str]:
    """The same, but those that fail are only noted in `FAILURES`."""
    FAILURES.clear()
    loaded: set[str] = set()
    for plugin in _files(plugins):
        remedy = "mend it, or take it out of `plugins`"
        if plugin.endswith(".py"):
            _attempt(plugin, remedy, f"{PACKAGE}.{Path(plugin).stem}", loaded, _import_file, Path(plugin))
        else:
            _attempt(plugin, remedy, plugin.partition(".")[0], loaded, importlib.import_module, plugin)
    for entry in metadata.entry_points(group=GROUP):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "?"
        what, remedy = f"{entry.name} of the package {package}", "its classes are unknown here; mend or uninstall it"
        _attempt(what, remedy, top_of(entry), loaded, entry.load, installed=True)
    return loaded


def hint_of_failures() -> str:
    """What to add to a message about an unknown name: the plugins that may have held it. Empty if all were loaded."""
    told = "; ".join(f"{failure.plugin}: {failure.reason}" for failure in FAILURES)
    return f" (not loaded: {told})" if told else ""


def top_of(entry: metadata.EntryPoint) -> str:
    """The top-level module of an entry point."""
    return entry.value.partition(":")[0].partition(".")[0].strip()


def _files(plugins: Iterable[str]) -> Iterator[str]:
    """The plugins, with the files of a folder in its place."""
    for plugin in plugins:
        if not (path := Path(plugin)).is_dir():
            yield plugin
        elif files := sorted(path.glob("[!_.]*.py")):
            yield from map(str, files)
        else:
            why = "holds no .py file, but for those that begin with _"
            told = f"the plugin folder {path} {why}: correct the path, or name a package as a module"
            FAILURES.append(Failure(plugin, why, told))


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
    spec.loader.exec_module(module)
    setattr(sys.modules[PACKAGE], path.stem, module)


def _attempt(
    what: str,
    remedy: str,
    module: str,
    loaded: set[str],
    action: Callable[..., Any],
    *args: Any,
    installed: bool = False,
) -> None:
    """Imports one plugin; notes that it is loaded or why it is not, and then leaves nothing of it behind."""
    before = set(sys.modules)
    try:
        action(*args)
    except (Exception, SystemExit) as error:  # whatever the code of others raises
        if isinstance(error, UserError) and not _own_frames(error):  # of this file
            reason, message = str(error), str(error)
        else:
            reason = f"{type(error).__name__}: {error}{_place(error)}"
            message = f"the plugin {what} does not import ({reason}): {remedy}"
        FAILURES.append(Failure(what, reason, message, installed))
    else:
        loaded.add(module)
        return
    for name in set(sys.modules) - before:
        if f"{name}.".startswith(f"{module}."):
            del sys.modules[name]
    gc.collect()  # classes that it made before it failed would else stay in the tree


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Where an error came through, without what imports."""
    machinery = (__file__, importlib.__file__, metadata.__file__)
    frames = traceback.extract_tb(error.__traceback__)
    return [f for f in frames if f.filename not in machinery and not f.filename.startswith("<frozen importlib")]


def _place(error: BaseException) -> str:
    """The line of the plugin, rather than of a library that it calls, where an error arose."""
    if isinstance(error, SyntaxError) and error.filename:
        return f", {error.filename}:{error.lineno}"
    frames = _own_frames(error)
    if not frames:
        return ""
    first = Path(frames[0].filename)
    own = first.parent if first.name == "__init__.py" else first
    last = [frame for frame in frames if Path(frame.filename).is_relative_to(own)][-1]
    return f", {last.filename}:{last.lineno}"
