"""SFT: a packed conversation is computed as it is alone, and the loss is that of what is learned."""

from functools import partial

import numpy as np
import pytest
import torch

from lmkit.data.chat_templates.encoder import Encoded
from lmkit.data.examples.store import ExampleStore, ExampleWriter
from lmkit.data.packed_rows import PackedRows
from lmkit.layers import GatedDeltaNet
from lmkit.network import Decoder
from lmkit.tasks import SFT

V, T = 40, 24
NETWORK = partial(Decoder, V, T, 16, 2, 2)


@pytest.fixture
def store(tmp_path):
    draw = np.random.default_rng(0)
    writer = ExampleWriter(tmp_path / "store", 1)
    for length in draw.integers(2, T + 2, 20):
        trained = draw.random(length) < 0.6
        trained[-1] = True
        writer.add([Encoded(draw.integers(1, V, length), trained)])
    writer.finish({})
    return ExampleStore(tmp_path / "store")


@pytest.mark.parametrize("network", [NETWORK, partial(NETWORK, attention=GatedDeltaNet)], ids=["softmax", "delta"])
def test_a_packed_conversation_is_computed_as_it_is_alone(double, store, network):
    rows, made = PackedRows(store, T, 0), network()
    batch = rows.batch(range(len(rows)))
    logits = made.logits(made(batch.inputs, batch.documents))
    seen = 0
    for row, members in enumerate(rows._plan):
        for number, example in enumerate(members):
            ids = torch.from_numpy(store[example][0].ids)
            alone = made.logits(made(ids[None, :-1]))[0]
            packed = logits[row, batch.documents[row] == number][: len(alone)]  # the last may be followed by padding
            assert torch.allclose(packed, alone, rtol=0, atol=1e-12)
            seen += 1
    assert seen == len(store)


def test_the_loss_is_that_of_what_is_learned(double, store):
    task = SFT(NETWORK, chunk=7)
    task.configure_model()
    rows = PackedRows(store, T, 0)
    loss, count = task.loss(rows.batch(range(len(rows))))
    loss.backward()
    found = [parameter.grad.clone() for parameter in task.network.parameters()]
    task.zero_grad()
    total, learned = 0.0, 0
    for number in range(len(store)):
        ids, trained = map(torch.from_numpy, store[number][0])
        logits = task.network.logits(task.network(ids[None, :-1]))[0]
        each = -logits.log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
        total, learned = total + each[trained[1:]].sum(), learned + int(trained[1:].sum())
    total.backward()
    assert int(count) == learned
    assert torch.allclose(loss, total, rtol=1e-12)
    for one, parameter in zip(found, task.network.parameters(), strict=True):
        assert torch.allclose(one, parameter.grad, rtol=0, atol=1e-11)


def test_rows_past_the_last_count_for_nothing(store):
    rows = PackedRows(store, T, 0)
    batch = rows.batch([len(rows), len(rows) + 3])
    task = SFT(NETWORK)
    task.configure_model()
    loss, count = task.loss(batch)
    assert (float(loss), int(count)) == (0.0, 0)


def test_little_of_the_rows_is_padding(store):
    rows = PackedRows(store, T, 0)
    assert rows.tokens == int((store.lengths - 1).sum())
    assert rows.filled == rows.tokens / (len(rows) * T) > 0.75
    assert sum(map(len, rows._plan)) == len(store)
