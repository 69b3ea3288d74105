"""Where a run lives: `runs/<name>/<version>/`, and which checkpoint `last` or `best` means."""

import re
import shutil
from contextlib import suppress
from itertools import count
from pathlib import Path

from lmkit.checkpoints import find
from lmkit.errors import UserError

ROOT = "runs"


def new_folder(root: Path, name: str) -> Path:
    """Makes the folder of a new run: `root/name/version_N`, N one more than the largest there.

    Raises:
        UserError: it cannot be made.
    """
    if not name or Path(name).name != name:
        raise UserError(f"the run's name is {name!r}: give one word, such as --name=gpt-small")
    versions = [
        int(m[1]) for path in (root / name).glob("version_*") if (m := re.fullmatch(r"version_(\d+)", path.name))
    ]
    for number in count(max(versions, default=-1) + 1):
        folder = root / name / f"version_{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:  # of a run that starts at the same time
            continue
        except OSError as error:
            raise UserError(
                f"cannot make the run's folder {folder} ({error.strerror}): choose another place by "
                "trainer.default_root_dir"
            ) from error
        return folder
    raise AssertionError


def remove_folder(folder: Path) -> None:
    """Removes the folder of a run that took no step, and those above it that were made for it alone."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in (folder.parent, *([Path(ROOT)] if folder.parent.parent == Path(ROOT) else [])):
        with suppress(OSError):  # other runs are there
            parent.rmdir()


def resolve(ckpt_path: str, root: Path, name: str, preferred: tuple[str, ...]) -> Path:
    """The checkpoint file meant by `last`, `best`, a run's folder or a file.

    Args:
        ckpt_path: what was asked for.
        root: the folder of all runs.
        name: the runs' name.
        preferred: which checkpoint of a run's folder to take, in this order.

    Raises:
        UserError: there is none.
    """
    if ckpt_path in ("last", "best"):
        if not (root / name).is_dir():
            raise UserError(
                f"no run in {root / name} to take its {ckpt_path} checkpoint from: start without --ckpt_path"
            )
        return find(root / name, (ckpt_path,))
    return find(ckpt_path, preferred)
