"""Which files a source names: one file, a folder with all below it, or a glob."""

import glob
from pathlib import Path
from typing import NamedTuple

from lmkit.errors import UserError

KINDS = (".txt", ".md", ".py", ".jsonl")
_COMPRESSIONS = ("", ".gz", ".zst")
_READABLE = tuple(kind + compression for kind in KINDS for compression in _COMPRESSIONS)
_NEED = f"files ending in {', '.join(KINDS)} are read, each also with .gz or .zst"


class SourceFile(NamedTuple):
    """A file to read; `name` is its path within the source, `kind` one of KINDS."""

    name: str
    path: Path
    kind: str


def source_files(source: str) -> list[SourceFile]:
    """The readable files of a source, sorted by name, so that every machine reads them in one order.

    Args:
        source: a file, a folder (searched through all depths) or a glob (`**` crosses folders).

    Raises:
        UserError: nothing is there, or nothing that can be read.
    """
    root = Path(source).expanduser()
    if root.is_dir():
        named = [(path.relative_to(root).as_posix(), path) for path in root.rglob("*")]
    elif root.exists():
        named = [(root.name, root)]
    else:
        named = [(found, Path(found)) for found in glob.glob(str(root), recursive=True)]  # noqa: PTH207 (may be absolute)
    if not named and not root.exists():
        needed = 'one that exists, "stdlib", or the class of a source'
        raise UserError(f'no file, folder or glob matches the source "{source}"; give {needed}')
    files = [SourceFile(name, path, _kind(path)) for name, path in sorted(named) if _kind(path) and path.is_file()]
    if not files:
        raise UserError(f'the source "{source}" has no readable file: {_NEED}; rename or convert the files')
    return files


def _kind(path: Path) -> str:
    """The ending without its compression, or "" where this file is not read."""
    name = path.name.lower()
    if not name.endswith(_READABLE):
        return ""
    return Path(name.removesuffix(".gz").removesuffix(".zst")).suffix
