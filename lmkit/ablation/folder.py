"""The folder of an ablation: its plan, its runs, their logs, and a lock that its runs hold too.

ablation.json            the plan
runs/ARM-seedN/          the runs, as `lmkit fit` leaves them, each with an empty file `ended` once it has ended well
logs/ARM-seedN.txt       what each of them wrote
table.md, table.csv, effects.csv, runs.csv, plot.png
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from lmkit.ablation.plan import Plan, from_json
from lmkit.errors import UserError

OWN = {".lock", "runs", "logs"}
"""What there is before the plan."""


class Folder:
    """An ablation's folder.

    Args:
        path: its path; it is made by `take`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._made: list[Path] = []  # by `take`, the innermost first

    def plan(self) -> Plan | None:
        """The plan that is kept here; none in a folder that is new or empty.

        Raises:
            UserError: the folder holds something else, or the plan cannot be read.
        """
        file = self.path / "ablation.json"
        if file.is_file():
            try:
                return from_json(json.loads(file.read_text(encoding="utf-8")))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{file} cannot be read (it is damaged, or of another version of lmkit: {type(error).__name__}: "
                    f"{error}): choose another folder by --out"
                ) from error
        if self.path.exists() and (not self.path.is_dir() or {path.name for path in self.path.iterdir()} - OWN):
            raise UserError(f"{self.path} exists and holds no ablation: choose another folder by --out")
        return None

    def keep(self, plan: Plan) -> None:
        """Writes the plan."""
        text = json.dumps(plan.as_json(), indent=1)
        self.write("ablation.json", lambda path: path.write_text(text, encoding="utf-8"))

    def take(self) -> int:
        """Makes the folder and locks it; gives the lock's file descriptor, which runs inherit and so hold too.

        Raises:
            UserError: another ablation, or a run that one left behind, is at work here, or it holds something else.
        """
        if not (self.path / "ablation.json").is_file():
            self.plan()  # so that nothing is made in a folder of something else
        inside = (self.path / "logs", self.path / "runs", self.path)
        self._made = [path for path in (*inside, *self.path.parents) if not path.exists()]
        try:
            for name in ("runs", "logs"):
                (self.path / name).mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("w", encoding="utf-8")
        except OSError as error:
            raise UserError(
                f"cannot write in {self.path} ({error.strerror}): choose another folder by --out"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(self._lock):  # whoever had made it has just removed it again
                raise BlockingIOError
        except BlockingIOError as error:
            self._lock.close()
            self._lock = None
            raise UserError(
                f"an ablation, or a run that one left behind, is at work in {self.path}: wait for it, stop it, or "
                "choose another folder by --out"
            ) from error
        return self._lock.fileno()

    def release(self) -> None:
        """Gives the lock back; a folder that was made in vain goes again."""
        if self._lock is None:
            return
        if not (self.path / "ablation.json").exists():
            with suppress(OSError):
                Path(self._lock.name).unlink()
                for path in self._made:
                    path.rmdir()
        self._lock.close()
        self._lock = None

    def run(self, name: str) -> Path:
        """The folder of a run's versions, of which there is one."""
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        """The file of what a run writes."""
        return self.path / "logs" / f"{name}.txt"

    def has_ended(self, name: str) -> bool:
        """Whether a run has ended with exit code 0, which its last validation does not tell: it may fail after that."""
        return (self.run(name) / "ended").is_file()

    def mark_ended(self, name: str) -> None:
        """Keeps that a run has ended well."""
        self.run(name).mkdir(parents=True, exist_ok=True)
        (self.run(name) / "ended").touch()

    def recipe(self, name: str) -> Path | None:
        """The full recipe that a run has kept, if it has begun."""
        return next(self.run(name).glob("version_*/config.yaml"), None)

    def last_checkpoint(self, name: str) -> Path | None:
        """The checkpoint to go on from, if there is one."""
        return next(self.run(name).glob("version_*/checkpoints/last.ckpt"), None)

    def clear(self, name: str) -> None:
        """Removes what there is of a run."""
        shutil.rmtree(self.run(name), ignore_errors=True)

    def drop_checkpoints(self, name: str) -> None:
        """Removes a run's checkpoints, which are hundreds of times as large as its record."""
        for path in self.run(name).glob("version_*/checkpoints"):
            shutil.rmtree(path, ignore_errors=True)

    def write(self, name: str, writer: Callable[[Path], object]) -> None:
        """Has a file written under a temporary name, then renames it, so that it is always whole."""
        target = self.path / name
        partial = target.with_name(f".{os.getpid()}.{name}")
        try:
            writer(partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def _is_at(file: IO[str]) -> bool:
    """Whether an open file is still the one of its path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), Path(file.name).stat())
    except FileNotFoundError:
        return False
