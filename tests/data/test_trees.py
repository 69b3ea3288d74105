"""Prompts with several completions in one row: every completion is predicted from its own prompt."""

import numpy as np
import pytest
import torch

from lmkit.data.chat_templates.encoder import Encoded
from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.examples.trees import STEP, apart, lay


def piece(ids, trained=True):
    ids = np.array(ids)
    return Encoded(ids, np.array(trained) if isinstance(trained, list) else np.full(len(ids), trained))


TREES = [
    [piece([1, 2, 3], False), piece([4, 5, 6]), piece([7])],
    [piece([8], False), piece([9, 10, 11, 12], [True, False, True, True]), piece([13, 14])],
]
WHOLE = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 7], [8, 9, 10, 11, 12], [8, 13, 14]]
SCORED = [[4, 5, 6], [7], [9, 11, 12], [13, 14]]


@pytest.fixture
def trees():
    return lay(TREES, [(CHOSEN, REJECTED)] * 2, [5, 9], pad=0)


def read(trees, owner):
    """Of a completion: what each scored token may see of its row, and the token."""
    inputs, documents, branches = trees.inputs[0], trees.documents[0], trees.branches[0]
    found = []
    for place, target in zip(trees.places[trees.owners == owner], trees.targets[trees.owners == owner], strict=True):
        branch = branches[place] if branches[place] else None
        at = torch.arange(len(inputs))
        seen = (documents == documents[place]) & (at <= place)
        seen &= (branches == 0) if branch is None else (branches == 0) | (branches == branch)
        found.append((inputs[seen].tolist(), int(target)))
    return found


@pytest.mark.parametrize("form", [lambda trees: trees, apart], ids=["shared", "apart"])
def test_each_token_is_predicted_from_what_comes_before_it(trees, form):
    laid = form(trees)
    for owner, (whole, scored) in enumerate(zip(WHOLE, SCORED, strict=True)):
        assert read(laid, owner) == [(whole[: whole.index(token)], token) for token in scored]
    assert laid.roles.tolist() == [CHOSEN, REJECTED] * 2
    assert laid.examples.tolist() == [5, 5, 9, 9]
    assert laid.inputs[0, laid.ends].tolist() == [whole[-1] for whole in WHOLE]
    assert laid.inputs.shape[1] % STEP == len(laid.places) % STEP == 0


def test_a_prompt_comes_once(trees):
    tokens = [token for token in trees.inputs[0].tolist() if token]
    assert tokens == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]


def test_nothing_is_a_row_of_padding():
    trees = lay([], [], [], pad=7)
    assert trees.inputs.tolist() == [[7] * STEP]
    assert trees.roles.numel() == 0
    assert (trees.owners == 0).all()
    assert apart(trees).inputs.shape == (1, STEP)
