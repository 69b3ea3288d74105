"""A folder that appears whole or not at all, however its making fails and however many processes make it at once."""

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from lmkit.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def whole_folder(target: Path, remedy: str = "set LMKIT_CACHE to another folder", same: bool = True) -> Iterator[Path]:
    """Gives a temporary folder beside `target` to fill, and renames it to `target` when the block ends well.

    Args:
        target: the folder.
        remedy: what to do where it cannot be made.
        same: whether all who make this folder make the same, so that where another was faster its own stays.

    Raises:
        UserError: the folder cannot be made, no space is left, or something else has come to be there.
    """
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    made = [folder for folder in part.parents if not folder.exists()]
    try:
        part.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"cannot make a folder in {target.parent} ({error.strerror}): {remedy}") from error
    try:
        yield part
        _publish(part, target, remedy, same)
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


def _publish(part: Path, target: Path, remedy: str, same: bool) -> None:
    try:
        part.rename(target)
    except OSError as error:
        if not target.exists():
            raise
        if not same:
            raise UserError(f"{target} has come to be there meanwhile, and is left as it is: {remedy}") from error
        if not target.is_dir():
            raise


def made_once(folder: Path, make: Callable[[Path], None]) -> str:
    """Fills a folder unless it is there, all of it or nothing, and says which it was and how long that took."""
    began, cached = time.perf_counter(), folder.is_dir()
    if not cached:
        with whole_folder(folder) as part:
            make(part)
    return f"{'cached' if cached else 'prepared'} in {folder} ({time.perf_counter() - began:.1f} s)"


def check_made(folder: Path) -> None:
    """Looks whether a folder is there that was to be made before.

    Raises:
        UserError: it is not.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is missing; run prepare_data on this machine, and change no file until it ends")
