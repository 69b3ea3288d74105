"""Which commit of a data set of the Hugging Face hub is read: asked for once, and remembered for where the hub is not.

All processes of a run have to read the same one. The first of each machine asks, since it is the one that prepares
data, and the others take what it has written down.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from lightning.pytorch.utilities import rank_zero_warn

from lmkit.data.prepare import cache_root

_ANSWERED = (401, 403, 404)  # the hub was there, and has no such data set for this user


def commit_of(name: str, hub: Any) -> str:
    """The newest commit of a data set, or the one that was read last, where the hub cannot be asked.

    Args:
        name: on the hub.
        hub: the package `huggingface_hub`.

    Raises:
        Exception: whatever the hub's package raises, where no commit was read before.
    """
    file = cache_root() / "hub" / f"{quote(name, safe='')}.txt"
    known = _known(file)
    if known and not _is_first():
        return known
    try:
        commit = str(hub.HfApi().dataset_info(name).sha)
    except Exception as error:  # of the network, of the hub's package
        answer = getattr(getattr(error, "response", None), "status_code", None)
        if not known or answer in _ANSWERED:
            raise
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        rank_zero_warn(f"the hub could not be asked for {name} ({said}): its commit {known[:12]} is taken, read before")
        return known
    if commit != known:
        _keep(file, commit)
    return commit


def _is_first() -> bool:
    """Whether this process is the first of its machine, by what launchers tell."""
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"


def _known(file: Path) -> str | None:
    try:
        return file.read_text().strip() or None
    except OSError:
        return None


def _keep(file: Path, commit: str) -> None:
    """Writes it whole or not at all; a cache that takes no file is met where examples are kept there."""
    part = file.with_name(f"{file.name}.{uuid4().hex}.part")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(commit)
        part.replace(file)
