"""A folder that appears whole or not at all, however its making fails and however many processes make it at once."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from lmkit.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole_folder(target: Path, remedy: str = "set LMKIT_CACHE to another folder") -> Iterator[Path]:
    """Gives a temporary folder beside `target` to fill, and renames it to `target` when the block ends well.

    When another process was faster its folder stays and this one is dropped: both hold the same by construction.

    Args:
        target: the folder.
        remedy: what to do where it cannot be made.

    Raises:
        UserError: the folder cannot be made, or no space is left.
    """
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    made = [folder for folder in part.parents if not folder.exists()]
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot make a folder in {target.parent} ({error.strerror}): {remedy}") from error
    try:
        yield part
        _publish(part, target)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        written = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        raise UserError(f"no space left in {target.parent} after {written} bytes: free some, or {remedy}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        for folder in made:  # the innermost first
            with suppress(OSError):  # something is in it
                folder.rmdir()


def _publish(part: Path, target: Path) -> None:
    try:
        part.rename(target)
    except OSError:
        if not target.is_dir():
            raise
