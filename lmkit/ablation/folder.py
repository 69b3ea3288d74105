"""The folder of an ablation: its plan, its runs, their logs, and a lock that its runs hold too.

ablation.json            the plan
runs/ARM-seedN/          the runs, as `lmkit fit` leaves them
logs/ARM-seedN.txt       what each of them wrote
table.md, table.csv, runs.csv, plot.png
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
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

    def plan(self) -> Plan | None:
        """The plan that is kept here; none in a folder that is new or empty.

        Raises:
            UserError: the folder holds something else.
        """
        file = self.path / "ablation.json"
        if file.is_file():
            return from_json(json.loads(file.read_text(encoding="utf-8")))
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
            UserError: another ablation, or a run that one left behind, is at work here.
        """
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
        except BlockingIOError as error:
            raise UserError(
                f"an ablation, or a run that one left behind, is at work in {self.path}: wait for it, stop it, or "
                "choose another folder by --out"
            ) from error
        return self._lock.fileno()

    def release(self) -> None:
        """Gives the lock back."""
        if self._lock:
            self._lock.close()

    def run(self, name: str) -> Path:
        """The folder of a run's versions, of which there is one."""
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        """The file of what a run writes."""
        return self.path / "logs" / f"{name}.txt"

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
