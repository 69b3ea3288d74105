"""Prompts with several completions each, laid end to end in one row: a prompt's tokens come once (Wang and Hegde 2024,
arXiv:2410.20305), and nothing is padding but the row's end.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmkit.data.chat_templates.encoder import Encoded
from lmkit.data.examples.store import ExampleStore

STEP = 64
"""Rows are filled up to multiples of it: kernels that are made for one shape (oneDNN's) are few then."""


class Trees(NamedTuple):
    """Completions of prompts. T tokens in a row, N places for tokens that are scored, C completions; all int64.

    Attributes:
        inputs: token ids (1, T).
        documents: the prompt that each token belongs to (1, T).
        branches: 0 for what completions share, from 1 on the number of the completion within its document (1, T).
        places: the token that predicts each scored one (N), by its place in the row.
        targets: the ids of the scored tokens (N).
        owners: the completion of each scored token (N), in [0, C); C for places that are not used.
        prompts: the document of each completion's prompt (C).
        roles: what each completion is (C), as `lmkit.losses` numbers it.
        ends: the last token of each completion (C), by its place in the row.
        examples: the example that each completion is of (C), by its number in the store.
    """

    inputs: Tensor
    documents: Tensor
    branches: Tensor
    places: Tensor
    targets: Tensor
    owners: Tensor
    prompts: Tensor
    roles: Tensor
    ends: Tensor
    examples: Tensor


class TreeRows:
    """Examples whose first piece is shared by the others, each example a row by its number.

    Args:
        store: of the examples.
        roles: what each piece after the first is.
        pad: the id that fills up.

    Attributes:
        fingerprint: of all that the rows hold.
    """

    def __init__(self, store: ExampleStore, roles: Sequence[int], pad: int) -> None:
        self._store, self._roles, self._pad = store, roles, pad
        self.fingerprint = store.fingerprint

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self._store)

    def batch(self, indices: Iterable[int]) -> Trees:
        """The examples of these numbers; what lies past the last one is left out."""
        examples = [index for index in indices if index < len(self)]
        return lay([self._store[index] for index in examples], [self._roles] * len(examples), examples, self._pad)


def lay(trees: Sequence[Sequence[Encoded]], roles: Sequence[Sequence[int]], examples: Sequence[int], pad: int) -> Trees:
    """Lays trees end to end.

    Args:
        trees: what is shared, of one token at least, and the completions.
        roles: of each completion of each tree.
        examples: the number of each tree.
        pad: the id that fills up.
    """
    parts = {name: [np.empty(0, np.int64)] for name in Trees._fields}
    start = owner = 0
    for number, (shared, *completions) in enumerate(trees):
        last = start + len(shared.ids) - 1  # it predicts the first token of each completion
        pieces = [shared.ids, *(piece.ids for piece in completions)]
        parts["inputs"] += pieces
        parts["branches"] += [np.full(len(piece), branch) for branch, piece in enumerate(pieces)]
        parts["documents"] += [np.full(sum(map(len, pieces)), number)]
        start = last + 1
        for piece in completions:
            before = np.concatenate([[last], np.arange(start, start + len(piece.ids) - 1)])
            parts["places"].append(before[piece.trained])
            parts["targets"].append(piece.ids[piece.trained])
            parts["owners"].append(np.full(int(piece.trained.sum()), owner))
            start, owner = start + len(piece.ids), owner + 1
            parts["ends"].append(np.array([start - 1]))
        parts["prompts"].append(np.full(len(completions), number))
        parts["roles"].append(np.array(roles[number], np.int64))
        parts["examples"].append(np.full(len(completions), examples[number]))
    scored = sum(map(len, parts["places"]))
    fill(parts, start, inputs=pad, branches=0, documents=len(trees))
    fill(parts, scored, places=0, targets=0, owners=owner)
    joined = {name: torch.from_numpy(np.concatenate(held, dtype=np.int64)) for name, held in parts.items()}
    return Trees(**{name: part[None] if name in Trees._fields[:3] else part for name, part in joined.items()})


def fill(parts: dict[str, list[NDArray[np.int64]]], length: int, **values: int) -> None:
    """Fills parts of one length up to a whole multiple, one at least."""
    for name, value in values.items():
        parts[name].append(np.full(-length % STEP if length else STEP, value))


def apart(trees: Trees) -> Trees:
    """The same completions, each behind a copy of its prompt, as documents: for layers that know no branches.

    The scored tokens come in the same order.
    """
    documents, branches = trees.documents[0], trees.branches[0]
    places, ends = torch.zeros_like(trees.places), torch.zeros_like(trees.ends)
    found, at = list[Tensor](), 0
    for owner, prompt in enumerate(trees.prompts.tolist()):
        branch = owner - int((trees.prompts < prompt).sum()) + 1
        mine = ((documents == prompt) & ((branches == 0) | (branches == branch))).nonzero()[:, 0]
        scored = trees.owners == owner
        places[scored] = at + torch.searchsorted(mine, trees.places[scored])
        ends[owner] = at + len(mine) - 1
        found.append(mine)
        at += len(mine)
    copies = [torch.full_like(mine, number) for number, mine in enumerate(found)]
    rest = -at % STEP if at else STEP
    order = torch.cat([*found, documents.new_zeros(rest)])
    alone = torch.cat([*copies, documents.new_full((rest,), len(found))])[None]
    return trees._replace(
        inputs=trees.inputs[:, order], documents=alone, branches=torch.zeros_like(alone), places=places, ends=ends
    )
