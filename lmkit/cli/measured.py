"""What the losses of an arm are measured on and in: arms are only compared where it is the same for all."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from lmkit.ablation.grid import Arm
from lmkit.errors import UserError

NEUTRAL = ("network", "optimizer", "schedule", "compile", "chunk")
"""Options of a task that leave open what is measured."""

TEXT, TOKENIZER = "validation text", "tokenizer"
"""Told by a hash."""


def hash_text(documents: Iterable[bytes]) -> str:
    """A hash of the documents to validate on, which does not depend on tokenizer or rows."""
    digest = blake2b(digest_size=16)
    for document in documents:
        digest.update(blake2b(document, digest_size=16).digest())
    return digest.hexdigest()


def measured(data: Any, text: str, task: Any, recipe: dict[str, Any]) -> dict[str, Any]:
    """What an arm is measured on and in.

    Bits per byte of one whole text may be compared over tokenizers and lengths of rows; nats a token, or those of the
    first batches only, may not.

    Args:
        data: its data, prepared.
        text: hash of its validation documents.
        task: its task.
        recipe: its full recipe.
    """
    in_bits = bool(getattr(data, "bytes_per_token", None)) and task.measures_bytes
    found: dict[str, Any] = {"measure": "bits per byte" if in_bits else "nats a token", TEXT: text}
    limit = recipe["trainer"]["limit_val_batches"]
    limited = limit is not None and not (isinstance(limit, float) and limit == 1)
    if limited or not in_bits:
        found[TOKENIZER] = blake2b(data.tokenizer.to_str().encode(), digest_size=16).hexdigest()
        found["data.context"] = getattr(data, "context", None)
    if limited:
        found["trainer.limit_val_batches"] = limit
        found["data.batch_size"] = getattr(data, "batch_size", None)
        found["trainer.accumulate_grad_batches"] = recipe["trainer"]["accumulate_grad_batches"]
    if not in_bits:
        own = recipe["model"].get("init_args", {})
        found["model"] = recipe["model"]["class_path"]
        found |= {f"model.{name}": value for name, value in own.items() if name not in NEUTRAL}
    return found


def check_alike(arms: Sequence[Arm], every: Sequence[dict[str, Any]]) -> None:
    """Looks whether all arms are measured alike.

    Raises:
        UserError: two are not.
    """
    for arm, found in zip(arms, every, strict=True):
        names = [name for name in {**every[0], **found} if every[0].get(name) != found.get(name)]
        other = [_told(name, every[0], found) for name in names]
        if other:
            raise UserError(
                f"the arms {arms[0].name} and {arm.name} are not measured alike ({'; '.join(other)}): compare arms on "
                "one validation text (data.validation_source) in one measure, without trainer.limit_val_batches where "
                "rows differ"
            )


def _told(name: str, one: dict[str, Any], other: dict[str, Any]) -> str:
    if name in (TEXT, TOKENIZER):
        return f"each has another {name}"
    return f"{name} is {one.get(name)} and {other.get(name)}"
