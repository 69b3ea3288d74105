"""Which files Python opens, to tell whether something is read."""

import builtins
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def opened_files() -> Iterator[list[Path]]:
    """The files that are opened by Python meanwhile."""
    plain: Callable[..., Any] = io.open
    files: list[Path] = []

    def watching(file: Any, *arguments: Any, **options: Any) -> Any:
        if not isinstance(file, int):
            files.append(Path(file.decode() if isinstance(file, bytes) else file).absolute())
        return plain(file, *arguments, **options)

    io.open = builtins.open = watching
    try:
        yield files
    finally:
        io.open = builtins.open = plain
