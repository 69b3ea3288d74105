"""Checkpoint files: found by run or path, written whole or not at all, read without running code, self-sufficient.

Beside what Lightning keeps, a checkpoint holds under `lmkit` the full recipe and the tokenizer, so that the network
can be rebuilt with no recipe at hand. One of an adapter that was begun beside a trained network holds under `base`
where that is, and only what has been learned.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor
from torch.serialization import get_crc32_options, set_crc32_options

from lmkit.errors import UserError
from lmkit.network import Network
from lmkit.registry import build
from lmkit.transforms import Transform

KEY = "lmkit"
CHAT = "chat"
"""Where what is kept under `KEY` has how conversations were written, if the network was trained on some."""
WRITES_TEXT = "writes_text"
"""Where what is kept under `KEY` has whether its task teaches to write text."""
NETWORK = "network."
"""What the names of a network's tensors begin with in a checkpoint, which is of a task."""
BASE = "base"
"""Where a checkpoint keeps which network it is beside."""

LOSS = "loss"
"""Where a checkpoint keeps what its task's loss is made of."""


class AtomicCheckpoints(CheckpointIO):
    """Writes to a temporary name beside the target, then renames; reads plain data only (`weights_only`)."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            UserError: it cannot be written, for example because no space is left; the old file stays as it was.
        """
        remedy = "choose another folder by trainer.default_root_dir, then go on with --ckpt_path last"
        write(checkpoint, Path(path), remedy)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Reads a checkpoint to the CPU."""
        return read(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Deletes a checkpoint."""
        Path(path).unlink(missing_ok=True)


def write(checkpoint: dict[str, Any], path: Path, remedy: str) -> None:
    """Writes a checkpoint, all of it or nothing.

    Args:
        checkpoint: what it holds.
        path: of the file, which is replaced if it is there.
        remedy: what to do where it cannot be written, beside making room.

    Raises:
        UserError: it cannot.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file, without_checksums():
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise UserError(f"cannot write the checkpoint {path} ({cause.strerror}): make room, or {remedy}") from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def without_checksums() -> Iterator[None]:
    """Has `torch.save` add up no checksums, which take longer than writing and which `torch.load` does not look at."""
    before = get_crc32_options()
    set_crc32_options(False)
    try:
        yield
    finally:
        set_crc32_options(before)


def read(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint file to the CPU, running none of its code; tensors are mapped from the file, not copied.

    Raises:
        UserError: it is missing, truncated, or not a checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no checkpoint {path}: give a run's folder or a .ckpt file, such as those under runs/")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # whatever comes of reading any file as one
        raise UserError(
            f"{path} ({path.stat().st_size:,} bytes) is truncated or not a checkpoint ({type(error).__name__}): give "
            "another .ckpt file of a run"
        ) from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is not a checkpoint of lmkit: it holds no state_dict; give a .ckpt file of a run")
    return checkpoint


def find(where: str | Path, names: tuple[str, ...] = ("best", "last")) -> Path:
    """The checkpoint meant by a .ckpt file, a run's folder, or the folder of several runs (the newest is taken).

    Args:
        where: the path.
        names: which checkpoints of a run will do, in the order of preference.

    Raises:
        UserError: there is none.
    """
    where = Path(where)
    if where.is_file():
        return where
    runs = [where, *where.glob("version_*")] if where.is_dir() else []
    found = [
        [run / "checkpoints" / f"{name}.ckpt" for name in names if (run / "checkpoints" / f"{name}.ckpt").is_file()]
        for run in runs
    ]
    first = [paths[0] for paths in found if paths]
    if not first:
        wanted = " or ".join(f"checkpoints/{name}.ckpt" for name in names)
        below = sorted({path.parents[2] for path in where.glob("*/*/checkpoints/*.ckpt")}) if where.is_dir() else []
        remedy = f"there is {', '.join(map(str, below))}" if below else _instead(where)
        raise UserError(f"no checkpoint at {where} (looked for {wanted} in it): {remedy}")
    return max(first, key=lambda path: path.stat().st_mtime)


def _instead(folder: Path) -> str:
    """What to do with a folder that holds no checkpoint."""
    if (folder / "adapter_config.json").is_file():
        return (
            "it is an adapter of peft, which is no network by itself; give the run or checkpoint of its base, and for "
            "`lmkit generate` or `chat` the adapter by --adapter; or merge it when its run is exported, by --merge"
        )
    if (folder / "config.json").is_file():
        return f"it is a Hugging Face folder; take it in by `lmkit import {folder} NAME`, and give what that makes"
    return "train one by `lmkit fit`, or correct it"


def weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint's network, by its own names."""
    state: Mapping[str, Tensor] = checkpoint["state_dict"]
    return {name.removeprefix(NETWORK): value for name, value in state.items() if name.startswith(NETWORK)}


def transforms_of(kept: Mapping[str, Any]) -> list[Transform]:
    """What a checkpoint's recipe does to its network.

    Args:
        kept: what the checkpoint keeps under `lmkit`; the plugins of its recipe have to be loaded.
    """
    transforms: list[Transform] = build(list[Transform], kept["recipe"]["model"]["init_args"].get("transforms") or [])
    return transforms


def network_of(kept: Mapping[str, Any], ids: int = 0) -> Network:
    """The network of a checkpoint's recipe on the meta device, before any transform.

    Args:
        kept: what the checkpoint keeps under `lmkit`; the plugins of its recipe have to be loaded.
        ids: token ids that it has rows for at least, where the recipe has fewer.
    """
    recipe = kept["recipe"]["model"]["init_args"]["network"]
    if ids > ids_of(kept):
        recipe = {**recipe, "init_args": {**recipe["init_args"], "vocab_size": ids}}
    with torch.device("meta"):
        network: Network = build(Callable[[], Network], recipe)()
    return network


def ids_of(kept: Mapping[str, Any]) -> int:
    """Token ids that the network of a checkpoint's recipe has rows for; 0 where the recipe does not say it.

    Args:
        kept: what the checkpoint keeps under `lmkit`.
    """
    ids: int = kept["recipe"]["model"]["init_args"]["network"].get("init_args", {}).get("vocab_size", 0)
    return ids


def folder_of(checkpoint: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
