"""Whether a recipe can go on from a checkpoint, and what it takes over from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lmkit.checkpoints import KEY
from lmkit.errors import UserError
from lmkit.registry import classes
from lmkit.transforms import Transform


def precision_of(checkpoint: dict[str, Any]) -> str | None:
    """The precision that a checkpoint was trained in; none if it is not told."""
    recipe = checkpoint.get(KEY, {}).get("recipe", {})
    return recipe.get("trainer", {}).get("precision")


def check_fits(path: Path, checkpoint: dict[str, Any], recipe: dict[str, Any], fitting: bool) -> None:
    """Looks whether a recipe can use a checkpoint.

    Args:
        path: of its file.
        checkpoint: what it holds.
        recipe: all of it, as kept in a run's folder.
        fitting: whether the training goes on.

    Raises:
        UserError: it is of another model, holds no state of training, or has no step left.
    """
    if fitting and "optimizer_states" not in checkpoint:
        raise UserError(
            f"{path} holds a network but no state of training to go on from: start from it by --model.init_from={path}"
        )
    if KEY in checkpoint:
        check_same_model(checkpoint[KEY]["recipe"]["model"], recipe["model"], fitting)
    steps = recipe["trainer"]["max_steps"]
    if fitting and 0 < steps <= (taken := int(checkpoint["global_step"])):
        raise UserError(
            f"{path} has taken {taken} of trainer.max_steps {steps}: give a larger trainer.max_steps to go on, or see "
            "what it reached by `lmkit validate`"
        )


def check_same_model(kept: dict[str, Any], given: dict[str, Any], fitting: bool) -> None:
    """Compares the `model` of a checkpoint's recipe with that of the recipe at hand.

    Tensors of the same shapes would be loaded whatever is computed with them. Another start is no error, and told.

    Args:
        kept: the checkpoint's.
        given: the recipe's.
        fitting: whether the training goes on too: by the same task, and the same class of optimizer, of which the
            options may be changed.

    Raises:
        UserError: they differ.
    """
    parts: dict[str, tuple[Any, Any]] = {"model": (_class_of(kept), _class_of(given))} if fitting else {}
    kept, given = kept["init_args"], given["init_args"]
    if fitting and (was := kept.get("init_from")) != (now := given.get("init_from")):
        rank_zero_info(f"model.init_from was {was} and is {now}: a run that goes on keeps what it began with")
    parts["model.network"] = kept["network"], given["network"]
    parts |= dict(_transforms(kept, given, fitting))
    if fitting and "optimizer" in kept and "optimizer" in given:
        parts["model.optimizer"] = (kept["optimizer"]["class_path"], given["optimizer"]["class_path"])
    other = [line for name, (one, another) in parts.items() for line in differences(name, one, another)]
    _refuse(other)


def check_same_loss(kept: dict[str, Any], given: dict[str, Any]) -> None:
    """Compares what the loss of a checkpoint is made of with that of the task at hand; tells what else was changed.

    Args:
        kept: the checkpoint's, as recipes of parts and as plain values.
        given: the task's.

    Raises:
        UserError: a part is of another class.
    """
    changed = {key: [*differences(f"model.{key}", kept[key], given[key])] for key in kept if key in given}
    _refuse([line for key, lines in changed.items() if _part(kept[key]) != _part(given[key]) for line in lines])
    if told := [line for lines in changed.values() for line in lines]:
        rank_zero_info(f"options of the loss were changed since the checkpoint: {', '.join(told)}")


def _part(value: Any) -> Any:
    """The class of a part; none of a plain value."""
    return value.get("class_path") if isinstance(value, dict) else None


def _refuse(other: list[str]) -> None:
    if other:
        raise UserError(
            f"the checkpoint is of another model ({'; '.join(other[:3])}{'; and more' if other[3:] else ''}): give the "
            "same --model options as it was trained with, or start anew without --ckpt_path"
        )


def _transforms(kept: dict[str, Any], given: dict[str, Any], fitting: bool) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """The transforms to compare: their classes, and then each with its like."""
    done = [[part for part in model.get("transforms") or [] if _matters(part, fitting)] for model in (kept, given)]
    was, now = (", ".join(_class_of(part) for part in parts) or "none" for parts in done)
    yield "model.transforms", (was, now)
    if was == now:
        for number, pair in enumerate(zip(*done, strict=True)):
            yield f"model.transforms[{number}]", pair


def _matters(transform: dict[str, Any], fitting: bool) -> bool:
    """Whether a checkpoint depends on it; of one that is no longer known, that is to be feared."""
    known: type[Transform] = classes(Transform).get(_class_of(transform), Transform)
    return known.changes == "network" or (fitting and known.changes == "learning")


def _class_of(part: dict[str, Any]) -> str:
    return str(part["class_path"].rpartition(".")[2])


def differences(name: str, kept: Any, given: Any) -> Iterator[str]:
    """Where two configurations differ, in what both of them say: later versions may know more options."""
    if isinstance(kept, dict) and isinstance(given, dict):
        if kept.get("class_path") != given.get("class_path"):
            yield f"{name} was {kept.get('class_path')} and is {given.get('class_path')}"
            return
        for key in (key for key in kept if key in given):
            yield from differences(name if key == "init_args" else f"{name}.{key}", kept[key], given[key])
    elif kept != given:
        yield f"{name} was {kept} and is {given}"
