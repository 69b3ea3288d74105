"""What a teacher says of each row of text, its likeliest tokens only, kept on disk in one file: by what the row holds,
so that it serves any order of rows, the ranks of a machine, a run that goes on, and later runs.
"""

import sqlite3
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmkit.data.packing import IGNORE, Batch
from lmkit.errors import UserError

FORMAT = 2
"""Of what is kept, and of lmkit's code that says it; another number has all be said anew."""
PATIENCE = 600
"""Seconds to wait for another rank that writes."""

Said = tuple[NDArray[np.float32], NDArray[Any]]


class KeptTopK:
    """Reads what is kept, and has the rest be said, once.

    Args:
        file: a database of SQLite, is made; each of the k tokens takes 6 or 8 bytes.
        k: likeliest tokens of each token's distribution.
        used: token ids.
    """

    def __init__(self, file: Path, k: int, used: int) -> None:
        self.file, self.used, self._k = file, used, k
        self._ids = np.dtype("<u2" if used <= 2**16 else "<u4")
        self._opened: sqlite3.Connection | None = None

    def of(self, batch: Batch, say: Callable[[Batch], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Log-probabilities (N, k) and ids (N, k) of all tokens that have a target.

        Args:
            batch: the rows.
            say: gives the same of rows that are not kept.

        Raises:
            UserError: the file is damaged, or cannot be written.
        """
        counts = (batch.targets != IGNORE).sum(dim=1).tolist()
        names = _names(batch)
        found = [self._read(name, count) for name, count in zip(names, counts, strict=True)]
        if missing := [row for row, said in enumerate(found) if said is None]:
            rows = torch.tensor(missing, device=batch.inputs.device)
            values, ids = say(Batch(*(None if part is None else part[rows] for part in batch)))  # type: ignore[arg-type]
            split = [counts[row] for row in missing]
            for row, own, own_ids in zip(missing, values.cpu().split(split), ids.cpu().split(split), strict=True):
                found[row] = own.numpy().astype("<f4"), own_ids.numpy().astype(self._ids)
            self._write([(names[row], found[row]) for row in missing])
        whole = [said for said in found if said is not None]
        device = batch.inputs.device
        joined = np.concatenate([said[0] for said in whole]), np.concatenate([said[1] for said in whole])
        return torch.from_numpy(joined[0]).to(device), torch.from_numpy(joined[1].astype(np.int64)).to(device)

    def _read(self, name: bytes, count: int) -> Said | None:
        """What is kept of a row of so many tokens; none where that is not there in full."""
        numbers = count * self._k
        if not numbers:
            return np.empty((0, self._k), np.float32), np.empty((0, self._k), self._ids)
        rows = self._asked("SELECT numbers FROM said WHERE name = ?", [name])
        held = rows[0][0] if rows else b""
        if len(held) != numbers * (4 + self._ids.itemsize):
            return None
        values, ids = np.frombuffer(held, "<f4", numbers), np.frombuffer(held, self._ids, offset=4 * numbers)
        return values.reshape(count, self._k), ids.reshape(count, self._k)

    def _write(self, said: Sequence[tuple[bytes, Any]]) -> None:
        """Keeps rows by one statement, which waits for the disk and for other ranks once."""
        values = [part for name, (values, ids) in said for part in (name, values.tobytes() + ids.tobytes())]
        self._asked(f"INSERT OR REPLACE INTO said VALUES {', '.join(['(?, ?)'] * len(said))}", values)

    def _asked(self, sql: str, values: list[bytes]) -> list[Any]:
        """All rows that a statement gives, so that it holds no lock any longer."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise UserError(
                f"what the teacher has said is kept in {self.file}, but {error}: make room, or remove that file to "
                "have it said anew"
            ) from error

    @property
    def _connection(self) -> sqlite3.Connection:
        """Opened in the process that uses it, with SQLite's first journal: a switch to a write-ahead log would not wait
        for other ranks, and that log works on no network file system.
        """
        if self._opened is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._opened = sqlite3.connect(self.file, timeout=PATIENCE, isolation_level=None)
            self._opened.execute("CREATE TABLE IF NOT EXISTS said (name BLOB PRIMARY KEY, numbers BLOB) WITHOUT ROWID")
        return self._opened


def _names(batch: Batch) -> list[bytes]:
    """A name for each row, of all that decides what is said of it."""
    parts = [part.cpu().numpy() for part in batch if part is not None]
    return [
        blake2b(b"".join(part[row].tobytes() for part in parts), digest_size=16).digest()
        for row in range(len(batch.inputs))
    ]
