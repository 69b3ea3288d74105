"""Examples come back as they were written, and what is damaged is told."""

import pickle

import numpy as np
import pytest

from lmkit.data.chat_templates.encoder import Encoded
from lmkit.data.examples.store import ExampleStore, ExampleWriter
from lmkit.errors import UserError


def drawn(seed, pieces):
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 20, pieces)
    return [Encoded(draw.integers(0, 70_000, n), draw.random(n) < 0.5) for n in lengths]


@pytest.mark.parametrize("waiting", [1, 1 << 20])
def test_examples_come_back(tmp_path, monkeypatch, waiting):
    monkeypatch.setattr("lmkit.data.examples.store._WAITING", waiting)
    examples = [drawn(seed, 3) for seed in range(30)]
    writer = ExampleWriter(tmp_path / "store", 3, 1)
    for number, example in enumerate(examples):
        writer.add(example, [number / 2])
    writer.finish({"said": "so"})
    store = pickle.loads(pickle.dumps(ExampleStore(tmp_path / "store")))
    assert len(store) == 30
    assert store.facts == {"said": "so"}
    assert store.numbers[:, 0].tolist() == [number / 2 for number in range(30)]
    for index, example in enumerate(examples):
        for was, now in zip(example, store[index], strict=True):
            assert np.array_equal(was.ids, now.ids)
            assert np.array_equal(was.trained, now.trained)
        assert store.lengths[index].tolist() == [len(piece.ids) for piece in example]


def test_the_fingerprint_is_of_the_content(tmp_path):
    prints = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        writer = ExampleWriter(tmp_path / name, 3)
        writer.add(drawn(seed, 3))
        writer.finish({})
        prints.append(ExampleStore(tmp_path / name).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_damaged_store_is_told(tmp_path):
    with pytest.raises(UserError, match="no examples in"):
        ExampleStore(tmp_path)
    writer = ExampleWriter(tmp_path / "store", 1)
    writer.add(drawn(0, 1))
    writer.finish({})
    with (tmp_path / "store" / "trained.bin").open("ab") as file:
        file.write(b"1")
    with pytest.raises(UserError, match="do not fit together"):
        ExampleStore(tmp_path / "store")


def test_pieces_of_the_same_tokens_have_the_same_number(tmp_path):
    draw = np.random.default_rng(0)
    kinds = [Encoded(np.array(ids), np.zeros(len(ids), np.bool_)) for ids in ([1], [1, 1], [1, 2], [70_000], [256])]
    drawn = draw.integers(0, len(kinds), (40, 2))
    writer = ExampleWriter(tmp_path / "store", 2)
    for first, second in drawn.tolist():
        writer.add([kinds[first], kinds[second]])
    writer.finish({})
    store = ExampleStore(tmp_path / "store")
    for piece in range(2):
        numbers, wanted = store.same(piece), drawn[:, piece]
        assert ((numbers[:, None] == numbers) == (wanted[:, None] == wanted)).all()
