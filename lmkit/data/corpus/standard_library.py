"""The embedded corpus: the running Python's own standard library, so that a first run needs no download.

A document is a module's source, or the docstrings of a module written in C, or the language reference of `help()`.
"""

import importlib
import io
import json
import os
import subprocess
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lmkit.data.corpus import docstrings
from lmkit.data.corpus.docstrings import Entry
from lmkit.data.corpus.document import Document

_SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__", "lib-dynload"}
_MADE = ("config-", "_sysconfigdata")  # while Python was built, so they differ from one machine to the next
_TOPICS = "pydoc_data/topics.py"


def documents() -> Iterator[Document]:
    """Yields the standard library in a fixed order: sources by path, then C modules by name, then the topics."""
    yield from sources()
    for name, module in sorted(compiled_modules().items()):
        yield Document(f"{name} (docstrings)", module.text)
    # Its topics repeat one another: as one document they cannot leak between training and validation.
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    yield Document("pydoc_data.topics", "\n\n".join(topics[name] for name in sorted(topics)))


def sources() -> Iterator[Document]:
    """Yields the source of every module written in Python, sorted by path."""
    root = _root()
    for name in source_names():
        yield Document(name, _source((root / name).read_bytes()))


class Compiled(NamedTuple):
    """A module without source.

    Attributes:
        text: its docstrings in one text.
        entries: its own docstring and that of each thing in it.
    """

    text: str
    entries: list[Entry]


def compiled_modules() -> dict[str, Compiled]:
    """What there is to read of the modules that have no source, by module name.

    It is collected in a bare second Python: importing them all here would change this process (readline, tkinter),
    and what this process has changed (`sys.excepthook`) would change them.
    """
    command = [sys.executable, "-I", "-S", "-B", docstrings.__file__]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    found: dict[str, tuple[str, list[list[str]]]] = json.loads(done.stdout)
    return {name: Compiled(text, [Entry(*entry) for entry in entries]) for name, (text, entries) in found.items()}


def source_names() -> list[str]:
    """Paths of the module sources below the library's folder, sorted; no tests, no files made while building Python."""
    root, found = _root(), []
    for folder, inner, files in os.walk(root):
        inner[:] = [name for name in inner if name not in _SKIPPED and not name.startswith(_MADE)]
        names = (Path(folder, file).relative_to(root).as_posix() for file in files if not file.startswith(_MADE))
        found += [name for name in names if name.endswith(".py") and name != _TOPICS]
    return sorted(found)


def source_sizes() -> dict[str, int]:
    """Size in bytes of every module source, by its path: what a cache needs to know another library by."""
    return {name: (_root() / name).stat().st_size for name in source_names()}


def _root() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _source(data: bytes) -> str:
    """Decodes as Python would, by the file's own declaration, but keeps its newlines."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding, errors="replace")
