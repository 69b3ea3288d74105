"""Heads of tasks that score texts: a checkpoint keeps one beside its network, and nothing that writes text has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lmkit.checkpoints import KEY, WRITES_TEXT
from lmkit.errors import UserError

HEAD = "head."
"""What the names of its tensors begin with in a checkpoint, which is of a task."""


class Head(NamedTuple):
    """What a task has learned beside its network."""

    task: str
    """The name of its class."""
    tensors: dict[str, Tensor]
    """By their names in the head."""
    classes: list[str]
    """That it tells apart; none for rewards."""


def head_of(held: Mapping[str, Any]) -> Head | None:
    """The head of a checkpoint; none if its task has none.

    Args:
        held: what is in the checkpoint.
    """
    state: Mapping[str, Tensor] = held["state_dict"]
    tensors = {name.removeprefix(HEAD): tensor for name, tensor in state.items() if name.startswith(HEAD)}
    return Head(_task_of(held[KEY]), tensors, held.get("classes", [])) if tensors else None


def check_writes(kept: Mapping[str, Any], path: Path, what: str) -> None:
    """Looks whether a checkpoint's task teaches to write text, so that nothing is lost with its head.

    Args:
        kept: what the checkpoint keeps under `lmkit`.
        path: of its file.
        what: cannot be done with one that does not, such as `be exported`.

    Raises:
        UserError: it does not.
    """
    if not kept.get(WRITES_TEXT, True):  # which imported ones do not say
        raise UserError(
            f"{path} was trained by {_task_of(kept)}, whose head gives scores and writes no text, so that it cannot "
            f"{what}: have it score texts by `lmkit predict`, or give a run of another task, such as SFT"
        )


def _task_of(kept: Mapping[str, Any]) -> str:
    name: str = kept["recipe"]["model"]["class_path"].rpartition(".")[2]
    return name
