"""A script: prints the docstrings of every standard module written in C, as JSON by module name.

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

_FOR_TESTS = re.compile(r"_?(test|xx)|.*_test$")
_IMPLIED = re.compile(r"^\(\$?(module|self|type)(, /)?(, )?")  # the argument that the caller does not write
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def names() -> list[str]:
    """Names of the modules without source: built into the interpreter, or in its folder of extensions."""
    folder = Path(sysconfig.get_path("platstdlib")) / "lib-dynload"
    files = [path.name for path in folder.glob("*") if path.name.endswith(tuple(EXTENSION_SUFFIXES))]
    found = {*sys.builtin_module_names, *(file.split(".")[0] for file in files)}
    return sorted(name for name in found if not _FOR_TESTS.match(name) and name != "__main__")


def describe(module: ModuleType) -> str:
    """The module's docstring, then every function and class with its signature and docstring, sorted by name."""
    parts = [f"{module.__name__}\n\n{inspect.getdoc(module) or ''}"]
    for name, value in sorted(vars(module).items()):
        # What other modules own is told there; data, such as os.environ, differs from one machine to the next.
        if name.startswith("__") or getattr(value, "__module__", None) not in (module.__name__, None):
            continue
        if inspect.isbuiltin(value):
            parts.append(_entry(name, value))
        elif inspect.isclass(value):
            parts.extend(_class(name, value))
    return _ADDRESS.sub("", "\n\n".join(parts)) + "\n"


def _class(name: str, kind: type) -> Iterator[str]:
    yield _entry(f"class {name}", kind)
    for member, value in sorted(vars(kind).items()):
        if not member.startswith("_") and inspect.getdoc(value) and not isinstance(value, (int, str, float)):
            yield _entry(f"{name}.{member}", value)


def _entry(title: str, value: object) -> str:
    # The signature as text: `inspect.signature` would evaluate its defaults, which fails where they need a terminal.
    signature = _IMPLIED.sub("(", getattr(value, "__text_signature__", None) or "")
    return f"{title}{signature}\n{inspect.getdoc(value) or ''}".rstrip()


def _collect() -> dict[str, str]:
    found = {}
    for name in names():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # A library that it needs is not on this machine.
        text = describe(module)
        if inspect.getdoc(module) or text.count("\n\n") > 1:
            found[name] = text
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_collect()))
