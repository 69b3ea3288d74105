"""Where a run lives: `runs/<name>/<version>/`, which checkpoint `last` or `best` means, and whether it fits."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

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


def folder_of(checkpoint: Path) -> Path:
    """The folder of the run that wrote a checkpoint."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent


def check_counts(trainer: Any) -> None:
    """Looks for numbers of a trainer's options that it would take without a word, or divide by.

    Raises:
        UserError: there is one.
    """
    for name in ("accumulate_grad_batches", "val_check_interval", "log_every_n_steps"):
        number = trainer[name]
        if number is not None and number <= 0:
            raise UserError(f"trainer.{name} is {number}: give 1 or more")
    if trainer.gradient_clip_val is not None and trainer.gradient_clip_val < 0:
        raise UserError(f"trainer.gradient_clip_val is {trainer.gradient_clip_val}: give a norm, or 0 to leave it out")


def check_unfinished(checkpoint: Path | None, taken: int, steps: int) -> None:
    """Looks whether a run that goes on has steps left.

    Args:
        checkpoint: the one that it goes on from.
        taken: optimizer steps taken there.
        steps: optimizer steps of the run.

    Raises:
        UserError: it has none.
    """
    if 0 < steps <= taken:
        raise UserError(
            f"{checkpoint} has taken {taken} of trainer.max_steps {steps}: give a larger trainer.max_steps to go on, "
            "or see what it reached by `lmkit validate`"
        )


def check_same_model(kept: dict[str, Any], given: dict[str, Any], fitting: bool) -> None:
    """Compares the `model` of a checkpoint's recipe with that of the recipe at hand.

    Tensors of the same shapes would be loaded whatever is computed with them.

    Args:
        kept: the checkpoint's.
        given: the recipe's.
        fitting: whether the optimizer goes on too; its options may be changed, its class may not.

    Raises:
        UserError: they differ.
    """
    kept, given = kept["init_args"], given["init_args"]
    parts: dict[str, tuple[Any, Any]] = {"model.network": (kept["network"], given["network"])}
    if fitting:
        parts["model.optimizer"] = (kept["optimizer"]["class_path"], given["optimizer"]["class_path"])
    other = [line for name, (one, another) in parts.items() for line in _differences(name, one, another)]
    if other:
        raise UserError(
            f"the checkpoint is of another model ({'; '.join(other[:3])}{'; and more' if other[3:] else ''}): give the "
            "same --model options as it was trained with, or start anew without --ckpt_path"
        )


def _differences(name: str, kept: Any, given: Any) -> Iterator[str]:
    """Where two configurations differ, in what both of them say: later versions may know more options."""
    if isinstance(kept, dict) and isinstance(given, dict):
        if kept.get("class_path") != given.get("class_path"):
            yield f"{name} was {kept.get('class_path')} and is {given.get('class_path')}"
            return
        for key in (key for key in kept if key in given):
            yield from _differences(name if key == "init_args" else f"{name}.{key}", kept[key], given[key])
    elif kept != given:
        yield f"{name} was {kept} and is {given}"
