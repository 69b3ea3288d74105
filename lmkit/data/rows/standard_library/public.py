"""Under which name a user knows what a module defines: `json.JSONDecoder`, which json/decoder.py defines."""

import re
from collections.abc import Iterable, Mapping

from lmkit.data.rows.standard_library.parsed import Import, Module

_NOT_FOR_USE = {"__phello__", "distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "turtledemo"}
_KNOWN_AS = {"posix": "os", "posixpath": "os.path", "genericpath": "os.path"}  # what no import statement tells
_PLATFORM = {"ntpath", "nt"}  # another system's `os.path` and `os`, with the same docstrings


class PublicNames:
    """The names by which things of the library are imported.

    Args:
        modules: all modules, by dotted name.
    """

    def __init__(self, modules: Mapping[str, Module]) -> None:
        self._modules = modules
        self._takers: dict[str, list[tuple[str, Import]]] = {}
        for module in modules.values():
            for taken in module.imports:
                self._takers.setdefault(taken.module, []).append((module.name, taken))

    def find(self, module: str, name: str) -> tuple[str, str] | None:
        """The public module, and the name there, of what a module defines at its top; none where it is private.

        Args:
            module: that defines it.
            name: empty for the module itself.
        """
        if not name:
            return (module, "") if _is_public(module) and module not in _KNOWN_AS else None
        home = _KNOWN_AS.get(module, module)
        found = [(home, name)] if _is_public(home) else []
        for taker, taken in self._takers.get(module, []):
            if _is_public(taker) and (taker == twin(module) or module.startswith(f"{taker}.")):
                if taken.name == name:
                    found.append((taker, taken.known_as))
                elif taken.name == "*" and self._is_exported(module, name):
                    found.append((taker, name))
        found = [pair for pair in found if not pair[1].startswith("_")]
        return min(found, key=lambda pair: (pair[0].count("."), pair), default=None)

    def _is_exported(self, module: str, name: str) -> bool:
        exported = self._modules[module].exported
        return exported is None or name in exported


def twin(module: str) -> str:
    """The module that a private one is made for: `heapq` for `_heapq`, `collections.abc` for `_collections_abc`."""
    if module in _KNOWN_AS:
        return _KNOWN_AS[module]
    bare = re.sub(r"^_(py)?", "", module)
    return bare.replace("_", ".") if module != bare and bare == "collections_abc" else bare


def _is_public(module: str) -> bool:
    parts = module.split(".")
    return not any(part.startswith("_") for part in parts) and parts[0] not in _NOT_FOR_USE | _PLATFORM


def by_name(modules: Iterable[Module]) -> dict[str, Module]:
    """Modules by name; of two with one name, as `__init__.py` beside a file, the first."""
    found: dict[str, Module] = {}
    for module in modules:
        found.setdefault(module.name, module)
    return found
