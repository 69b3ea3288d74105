"""Which file a name comes from that Python code imports, found by reading the code and not by running it."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lmkit.errors import UserError


class Origin(NamedTuple):
    """Where something imported is made: a module, and its name there; none for the module itself."""

    module: str
    name: str | None


def origin_of(module: str, name: str) -> Origin:
    """Follows what a package hands on (`from lmkit.layers import RMSNorm`) to the file that makes it."""
    if not exists(module) and exists(f"{module}.{name}"):  # a folder without code of its own, as that of plugin files
        return Origin(f"{module}.{name}", None)
    if not is_package(module):
        return Origin(module, name)
    for node in tree_of(module).body:
        if not isinstance(node, ast.ImportFrom):
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == name and exists(source := absolute(module, node)):
                return origin_of(source, alias.name)
    return Origin(f"{module}.{name}", None) if exists(f"{module}.{name}") else Origin(module, name)


def absolute(module: str, node: ast.ImportFrom) -> str:
    """The module that a `from` in another names, without dots before it."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package(module)]
    return ".".join([*parts, node.module] if node.module else parts)


def exists(module: str) -> bool:
    """Whether there is a Python file for a module."""
    return _file(module) is not None


def is_package(module: str) -> bool:
    """Whether a module is a folder's `__init__.py`."""
    return file_of(module).name == "__init__.py"


def file_of(module: str) -> Path:
    """The file of a module.

    Raises:
        UserError: it has none.
    """
    if (file := _file(module)) is None:
        raise UserError(f"the module {module} has no .py file that could be exported: write its layers in one")
    return file


def tree_of(module: str) -> ast.Module:
    """The parsed code of a module."""
    return _parsed(file_of(module).read_bytes())


def imports_of(module: str) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports in a module's code, wherever they stand."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node


_parsed = lru_cache(maxsize=256)(ast.parse)


def _file(module: str) -> Path | None:
    if (loaded := sys.modules.get(module)) is not None:
        place = getattr(loaded, "__file__", None)
    else:
        try:
            spec = importlib.util.find_spec(module)
        except (ImportError, ValueError):  # what holds it is no package, or cannot be found
            return None
        place = spec.origin if spec else None
    return Path(place) if place and place.endswith(".py") else None
