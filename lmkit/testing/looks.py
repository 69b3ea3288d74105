"""Whether a batch is what its type promises, one function for each type that data modules give."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lmkit.data.examples.roles import CHOSEN, MISMATCHED, REJECTED
from lmkit.data.examples.trees import Trees
from lmkit.data.labelled_texts import LabelledTexts
from lmkit.data.packing import IGNORE, Batch
from lmkit.testing.results import Failed


def look_at_rows(batch: Batch, data: Any, what: str) -> None:
    """Whether rows of text are some.

    Raises:
        Failed: they are not.
    """
    inputs, targets, documents = batch
    for part in (inputs, targets) if documents is None else batch:
        if not isinstance(part, Tensor) or part.dtype != torch.long or part.dim() != 2 or part.shape != inputs.shape:
            raise Failed(f"{what} has a part that is no int64 tensor (B, T)")
    _rows(what, data, inputs, torch.cat([inputs.flatten(), targets[targets != IGNORE]]), documents)


def look_at_trees(batch: Trees, data: Any, what: str) -> None:
    """Whether completions of prompts are some.

    Raises:
        Failed: they are not.
    """
    rows, tokens = ["inputs", "documents", "branches"], ["places", "targets", "owners"]
    _shaped(what, batch, rows, (1, batch.inputs.size(-1)))
    _shaped(what, batch, tokens, batch.targets.shape)
    _shaped(what, batch, ["prompts", "roles", "ends", "examples"], batch.roles.shape)
    _ids(what, data, torch.cat([batch.inputs.flatten(), batch.targets]))
    _rising(what, batch.documents)
    count = len(batch.roles)
    for name, most in (("places", batch.inputs.size(1)), ("ends", batch.inputs.size(1)), ("owners", count + 1)):
        _below(what, name, getattr(batch, name), most)
    for owner, prompt in enumerate(batch.prompts.tolist()):
        branch = batch.branches[0, batch.ends[owner]]
        mine = batch.branches[0, batch.documents[0] == prompt]
        if (length := int(((mine == 0) | (mine == branch)).sum())) > data.context:
            raise Failed(f"{what} has a prompt and answer of {length} tokens, but context is {data.context}")
    chosen, rejected, others = (int((batch.roles == role).sum()) for role in (CHOSEN, REJECTED, MISMATCHED))
    if data.paired and chosen != rejected:
        raise Failed(f"{what} has {chosen} chosen and {rejected} rejected answers, but says that they are paired")
    if not data.paired and not others:
        raise Failed(f"{what} has answers without a partner, and none to another prompt beside them")


def look_at_texts(batch: LabelledTexts, data: Any, what: str) -> None:
    """Whether labelled texts are some.

    Raises:
        Failed: they are not.
    """
    _shaped(what, batch, ["inputs", "documents"], (len(batch.inputs), batch.inputs.size(-1)))
    _shaped(what, batch, ["ends", "labels"], batch.labels.shape)
    _rows(what, data, batch.inputs, batch.inputs, batch.documents)
    _below(what, "ends", batch.ends, batch.inputs.numel())
    _below(what, "labels", batch.labels, len(data.classes))


LOOKS: dict[type, Callable[[Any, Any, str], None]] = {
    Batch: look_at_rows,
    Trees: look_at_trees,
    LabelledTexts: look_at_texts,
}
"""By the type of the batch."""


def _rows(what: str, data: Any, inputs: Tensor, ids: Tensor, documents: Tensor | None) -> None:
    if inputs.size(1) > data.context:
        raise Failed(f"{what} has rows of {inputs.size(1)} tokens, but context is {data.context}")
    _ids(what, data, ids)
    if documents is not None:
        _rising(what, documents)


def _shaped(what: str, batch: Any, names: Sequence[str], shape: Sequence[int]) -> None:
    for name in names:
        part = getattr(batch, name)
        if not isinstance(part, Tensor) or part.dtype != torch.long or part.shape != torch.Size(shape):
            raise Failed(f"{what} has {name} that are no int64 tensor {tuple(shape)}")


def _ids(what: str, data: Any, ids: Tensor) -> None:
    if ids.min() < 0 or ids.max() >= data.vocab_size_used:
        raise Failed(
            f"{what} has the ids {ids.min()} to {ids.max()}, but vocab_size_used is {data.vocab_size_used}",
            do="tell the largest id and one more, and write IGNORE where there is no target",
        )


def _rising(what: str, documents: Tensor) -> None:
    if (documents.diff(dim=1) < 0).any():
        raise Failed(
            f"{what} has documents whose numbers fall along a row", do="number them from the left to the right"
        )


def _below(what: str, name: str, part: Tensor, most: int) -> None:
    if part.numel() and not 0 <= part.min() <= part.max() < most:
        raise Failed(f"{what} has {name} from {part.min()} to {part.max()}, of which there are {most}")
