"""Whether a task can learn from the batches of its data: what they are, and what its preference loss asks of them."""

from typing import Any, get_type_hints

from lmkit.data.module import StreamedData
from lmkit.errors import UserError
from lmkit.losses import PreferenceLoss
from lmkit.registry import concrete


def batches_of(task: type) -> Any:
    """What the batches of a task are, by the annotation of its loss; `Any` where that is left open."""
    try:
        return get_type_hints(task.loss).get("batch", Any)  # type: ignore[attr-defined]
    except NameError:  # of a plugin that imports its types for checkers only
        return Any


def check_batches(task: Any, data: Any) -> None:
    """Compares what a task takes with what its data gives, where both say so.

    Raises:
        UserError: they differ.
    """
    taken, given = batches_of(type(task)), getattr(data, "gives", Any)
    if Any in (taken, given) or issubclass(given, taken):
        return
    known: Any = concrete(StreamedData)
    fitting = sorted(cls.__name__ for cls in known if issubclass(cls.gives, taken) and not cls.__name__.startswith("_"))
    raise UserError(
        f"{type(task).__name__} learns from {taken.__name__}, but {type(data).__name__} gives {given.__name__}: set "
        f"data to {' or '.join(fitting)}, or choose another task"
    )


def check_preferences(loss: PreferenceLoss, data: Any) -> None:
    """Compares what a preference loss needs with what its data gives.

    Raises:
        UserError: it needs pairs, or answers to other prompts, and gets none.
    """
    name, given, paired = type(loss).__name__, type(data).__name__, getattr(data, "paired", True)
    if loss.paired and not paired:
        raise UserError(
            f"{name} compares the two answers of a pair, but {given} gives answers without a partner: set data to "
            "Preferences, or model.preference_loss to KTO"
        )
    if loss.needs_mismatched and paired:
        raise UserError(
            f"{name} needs answers to other prompts too, which {given} does not give: set data to Judgements, or "
            "model.preference_loss to DPO"
        )


def check_pairs(task: Any, data: Any) -> None:
    """Looks whether data gives pairs.

    Raises:
        UserError: it gives answers without a partner.
    """
    if not getattr(data, "paired", True):
        raise UserError(
            f"{type(task).__name__} compares the two answers of a pair, but {type(data).__name__} gives answers "
            "without a partner: set data to Preferences"
        )
