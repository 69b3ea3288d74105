from pathlib import Path

import pytest
import torch
from data_samples import write_store
from tokenizers import Tokenizer

from lmkit.data.packing import IGNORE, Rows
from lmkit.data.store import TokenStore
from lmkit.errors import UserError


@pytest.mark.parametrize("context", [1, 2, 7, 64, 10_000])
def test_every_token_but_the_first_is_a_target_once(store: TokenStore, context: int) -> None:
    rows = Rows(store, context, separate=False)
    batch = rows.batch(range(len(rows)))
    tokens = torch.from_numpy(store.read(0, len(store)))
    assert batch.inputs.shape == batch.targets.shape == (len(rows), context)
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    assert batch.documents is None
    inputs, targets = batch.inputs.flatten(), batch.targets.flatten()
    assert torch.equal(targets[targets != IGNORE], tokens[1:])
    assert torch.equal(inputs[targets != IGNORE], tokens[:-1])
    assert (inputs[targets == IGNORE] == store.end_of_document).all()
    assert (targets == IGNORE).sum() < context


def test_a_store_that_fills_its_rows_exactly(tmp_path: Path, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the cat sat").ids
    store = write_store(tmp_path / "s", ["the cat sat"], tokenizer)
    rows = Rows(store, len(ids) + 1, separate=False)
    assert len(rows) == 1
    batch = rows.batch([0])
    assert batch.inputs.tolist() == [[0, *ids]]
    assert batch.targets.tolist() == [[*ids, 0]]


def test_rows_past_the_end_are_padding(store: TokenStore) -> None:
    rows = Rows(store, 16, separate=True)
    batch = rows.batch([len(rows), len(rows) + 5])
    assert (batch.targets == IGNORE).all()
    assert (batch.inputs == store.end_of_document).all()


def test_documents_are_numbered_within_the_row(tmp_path: Path, tokenizer: Tokenizer) -> None:
    store = write_store(tmp_path / "s", ["a", "b", "c"], tokenizer)  # tokens: 0 a 0 b 0 c 0
    batch = Rows(store, 5, separate=True).batch([0, 1])
    assert batch.documents is not None
    assert batch.documents.tolist()[0] == [1, 1, 2, 2, 3]
    # The second row goes on with c, whose end opens nothing; no padding shares the document of a real token.
    assert batch.targets.tolist()[1] == [0, *[IGNORE] * 4]
    assert batch.documents.tolist()[1][0] not in batch.documents.tolist()[1][1:]


def test_refuses_no_context(store: TokenStore) -> None:
    with pytest.raises(UserError, match="context 0"):
        Rows(store, 0, separate=False)
