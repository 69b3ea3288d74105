"""The small text files of a folder of unknown origin, read whole, and none from outside of it."""

import json
from pathlib import Path
from typing import Any

from lmkit.errors import UserError


class FolderTexts:
    """Reads a folder's text files by name.

    The model hub's cache keeps files as links into `blobs` two folders above, which belong to the folder; what any
    other link points to could be a secret that an export would carry along.

    Args:
        folder: what is read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: give one that holds a model as Hugging Face keeps it")
        real = folder.resolve()
        self._roots = [real, *([real.parents[1] / "blobs"] if real.parent.name == "snapshots" else [])]

    def has(self, name: str) -> bool:
        """Whether there is something of this name."""
        path = self.folder / name
        return path.exists() or path.is_symlink()

    def text(self, name: str) -> str | None:
        """A file as it stands, line ends too; none where there is none.

        Raises:
            UserError: it cannot be read, lies elsewhere, or is not UTF-8.
        """
        path = self.folder / name
        if not self.has(name):
            return None
        try:
            real = path.resolve()
        except (OSError, RuntimeError) as error:  # which of them depends on the version of Python
            raise UserError(f"{path} is a link that leads to itself: put the file itself there") from error
        if not any(real.is_relative_to(root) for root in self._roots):
            raise UserError(f"{path} is a link out of its folder, to {real}: put the file itself there")
        try:
            return path.read_bytes().decode()
        except OSError as error:
            raise UserError(f"cannot read {path} ({error.strerror}): put the file of its source there") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not UTF-8 (byte {error.start}): take it from its source again") from error

    def json(self, name: str) -> dict[str, Any]:
        """What a file of JSON holds; nothing where there is none.

        Raises:
            UserError: as `text`, or it holds no JSON object.
        """
        text = self.text(name)
        return {} if text is None else _object(text, self.folder / name)

    def named(self, below: str, ending: str) -> dict[str, str]:
        """All files of a folder below that end so, by their names without the ending, in their order.

        Raises:
            UserError: as `text`.
        """
        names = sorted(path.name for path in (self.folder / below).glob(f"[!.]*{ending}"))
        return {name.removesuffix(ending): self.text(f"{below}/{name}") or "" for name in names}


def _object(text: str, path: Path) -> dict[str, Any]:
    """What a file's text says as JSON.

    Raises:
        UserError: it is not JSON, or no JSON object, or could be read in two ways.
    """
    try:
        held = json.loads(text, object_pairs_hook=_once)
        json.dumps(held, ensure_ascii=False).encode()  # half a character, which JSON can spell, could not be written
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON as it should be ({error}): take it from its source again") from error
    if not isinstance(held, dict):
        raise UserError(f"{path} holds a {type(held).__name__}, not a JSON object: take it from its source again")
    return held


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of keys, each of which comes once: other readers would take another of the values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found
