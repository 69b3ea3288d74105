"""A script: prints the docstrings of every standard module written in C, as JSON by module name: as a text, and each.

It imports nothing of lmkit, because it runs in a bare Python of its own (see `standard_library.py`).
"""

import importlib
import inspect
import json
import re
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

_FOR_TESTS = re.compile(r"_?(test|xx)|.*_test$")
_IMPLIED = re.compile(r"^\(\$?(module|self|type)(, /)?(, )?")  # the argument that the caller does not write
_KINDS = {
    "method_descriptor": "method",
    "function": "method",
    "classmethod_descriptor": "bound",
    "classmethod": "bound",
    "staticmethod": "bound",
    "builtin_function_or_method": "bound",
}
"""What a class's member is, by its type; any other is a property."""
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def names() -> list[str]:
    """Names of the modules without source: built into the interpreter, or in its folder of extensions."""
    folder = Path(sysconfig.get_path("platstdlib")) / "lib-dynload"
    files = [path.name for path in folder.glob("*") if path.name.endswith(tuple(EXTENSION_SUFFIXES))]
    found = {*sys.builtin_module_names, *(file.split(".")[0] for file in files)}
    return sorted(name for name in found if not _FOR_TESTS.match(name) and name != "__main__")


class Entry(NamedTuple):
    """A function, a class, or what a class holds.

    Attributes:
        kind: module, function, class, exception, method, bound (a method that is called on its class), property, or
            alias (a class that the module has under its own name too).
        name: within its module, such as `Struct.pack`.
        signature: as text, without what the caller does not write; empty where it is not known.
        doc: its docstring.
    """

    kind: str
    name: str
    signature: str
    doc: str


def entries(module: ModuleType) -> Iterator[Entry]:
    """Every function and class that the module owns, and what its classes hold, sorted by name."""
    for name, value in sorted(vars(module).items()):
        # What other modules own is told there; data, such as os.environ, differs from one machine to the next.
        if name.startswith("__") or getattr(value, "__module__", None) not in (module.__name__, None):
            continue
        if inspect.isbuiltin(value):
            yield _entry("function", name, value)
        elif inspect.isclass(value):
            kind = "exception" if issubclass(value, BaseException) else "class"
            is_alias = value.__name__ != name and vars(module).get(value.__name__) is value
            yield _entry("alias" if is_alias else kind, name, value)
            for member, held in sorted(vars(value).items()):
                if not member.startswith("_") and inspect.getdoc(held) and not isinstance(held, (int, str, float)):
                    yield _entry(_KINDS.get(type(held).__name__, "property"), f"{name}.{member}", held)


def describe(module: ModuleType) -> str:
    """The module's docstring, then every function and class with its signature and docstring, sorted by name."""
    parts = [f"{module.__name__}\n\n{inspect.getdoc(module) or ''}"]
    for kind, name, signature, doc in entries(module):
        title = f"class {name}" if kind in {"class", "exception", "alias"} else name
        parts.append(f"{title}{signature}\n{doc}".rstrip())
    return "\n\n".join(parts) + "\n"


def _entry(kind: str, name: str, value: object) -> Entry:
    # The signature as text: `inspect.signature` would evaluate its defaults, which fails where they need a terminal.
    signature = _IMPLIED.sub("(", getattr(value, "__text_signature__", None) or "")
    return Entry(kind, name, *(_ADDRESS.sub("", text) for text in (signature, inspect.getdoc(value) or "")))


def _collect() -> dict[str, tuple[str, list[Entry]]]:
    found = {}
    for name in names():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # A library that it needs is not on this machine.
        text = describe(module)
        if inspect.getdoc(module) or text.count("\n\n") > 1:
            own = Entry("module", "", "", _ADDRESS.sub("", inspect.getdoc(module) or ""))
            found[name] = text, [own, *entries(module)]
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_collect()))
