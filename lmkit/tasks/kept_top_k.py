"""What a teacher says of each row of text, its likeliest tokens only, kept on disk: a file a row, named by what the row
holds, so that it serves any order of rows, any number of ranks, a run that goes on, and later runs.
"""

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmkit.data.packing import IGNORE, Batch

Said = tuple[NDArray[np.float32], NDArray[Any]]


class KeptTopK:
    """Reads what is kept, and has the rest be said, once.

    Args:
        folder: of the files, is made.
        k: likeliest tokens of each token's distribution.
        used: token ids.
    """

    def __init__(self, folder: Path, k: int, used: int) -> None:
        self.folder, self.used, self._k = folder, used, k
        self._ids = np.dtype("<u2" if used <= 2**16 else "<u4")

    def of(self, batch: Batch, say: Callable[[Batch], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Log-probabilities (N, k) and ids (N, k) of all tokens that have a target.

        Args:
            batch: the rows.
            say: gives the same of rows that are not kept.
        """
        counts = (batch.targets != IGNORE).sum(dim=1).tolist()
        files = [self.folder / name[:2] / name for name in _names(batch)]
        found = [self._read(file, count) for file, count in zip(files, counts, strict=True)]
        if missing := [row for row, said in enumerate(found) if said is None]:
            rows = torch.tensor(missing, device=batch.inputs.device)
            values, ids = say(Batch(*(None if part is None else part[rows] for part in batch)))  # type: ignore[arg-type]
            split = [counts[row] for row in missing]
            each = zip(missing, values.cpu().split(split), ids.cpu().split(split), strict=True)
            for row, own, own_ids in each:
                said = own.numpy().astype("<f4"), own_ids.numpy().astype(self._ids)
                _write(files[row], said)
                found[row] = said
        whole = [said for said in found if said is not None]
        device = batch.inputs.device
        joined = np.concatenate([said[0] for said in whole]), np.concatenate([said[1] for said in whole])
        return torch.from_numpy(joined[0]).to(device), torch.from_numpy(joined[1].astype(np.int64)).to(device)

    def _read(self, file: Path, count: int) -> Said | None:
        """What is kept of a row of so many tokens; none where that is not there in full."""
        numbers = count * self._k
        if not numbers:
            return np.empty((0, self._k), np.float32), np.empty((0, self._k), self._ids)
        try:
            held = file.read_bytes()
        except FileNotFoundError:
            return None
        if len(held) != numbers * (4 + self._ids.itemsize):
            return None
        values, ids = np.frombuffer(held, "<f4", numbers), np.frombuffer(held, self._ids, offset=4 * numbers)
        return values.reshape(count, self._k), ids.reshape(count, self._k)


def _names(batch: Batch) -> list[str]:
    """A name for each row, of all that decides what is said of it."""
    parts = [part.cpu().numpy() for part in batch if part is not None]
    return [
        blake2b(b"".join(part[row].tobytes() for part in parts), digest_size=16).hexdigest()
        for row in range(len(batch.inputs))
    ]


def _write(file: Path, said: Said) -> None:
    """Writes a file, all of it or nothing."""
    part = file.with_suffix(f".{os.getpid()}.part")
    file.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"".join(numbers.tobytes() for numbers in said))
    part.replace(file)
