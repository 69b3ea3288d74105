"""Which files a source names, of texts or of rows: one file, a folder with all below it, or a glob."""

import glob
from pathlib import Path
from typing import NamedTuple

from lmkit.errors import UserError

KINDS = (".txt", ".md", ".py", ".jsonl")
_COMPRESSIONS = (".gz", ".zst")


class SourceFile(NamedTuple):
    """A file to read; `name` is its path within the source, `kind` its ending without that of its compression."""

    name: str
    path: Path
    kind: str


def source_files(source: str, kinds: tuple[str, ...] = KINDS, plain: tuple[str, ...] = ()) -> list[SourceFile]:
    """The readable files of a source, sorted by name, so that every machine reads them in one order.

    Args:
        source: a file, a folder (searched through all depths) or a glob (`**` crosses folders).
        kinds: endings of files that are read, each also with .gz or .zst.
        plain: endings of files that are read as they are only.

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
    ended = (SourceFile(name, path, _kind(path, kinds, plain)) for name, path in sorted(named))
    files = [file for file in ended if file.kind and file.path.is_file()]
    if not files:
        need = f"files ending in {', '.join(kinds)} are read, each also with .gz or .zst"
        need += f", and {', '.join(plain)}" if plain else ""
        raise UserError(f'the source "{source}" has no readable file: {need}; rename or convert the files')
    return files


def _kind(path: Path, kinds: tuple[str, ...], plain: tuple[str, ...]) -> str:
    """The ending without its compression, or "" where this file is not read."""
    ending = Path(path.name.lower())
    if ending.suffix in plain:
        return ending.suffix
    inner = ending.with_suffix("") if ending.suffix in _COMPRESSIONS else ending
    return inner.suffix if inner.suffix in kinds else ""
