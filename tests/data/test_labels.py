"""Labelled texts: each is whole in one row, between two ends of documents, and has the class that its row says."""

import json

import pytest
import torch

from lmkit.data.labelled_texts import NO_CLASS
from lmkit.data.labels import Labels
from lmkit.errors import UserError

WORDS = {"spam": "win a prize now", "ham": "see you at noon", 3: "one two three"}


def written(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture
def rows(tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    named = [*WORDS]
    return [
        {"text": f"{WORDS[named[n % 3]]} {n}" + " again" * (40 * (n == 7)), "label": named[n % 3]} for n in range(40)
    ]


def opened(path, validation=None, **options):
    data = Labels(source=path, validation_source=validation, context=24, validation_fraction=0.3, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def read(data, batch):
    """Text and class of each text of a batch."""
    found = []
    for end, label in zip(batch.ends.tolist(), batch.labels.tolist(), strict=True):
        row, place = divmod(end, batch.inputs.size(1))
        mine = (batch.documents[row] == batch.documents[row, place]).nonzero()[:, 0]
        ids = batch.inputs[row, mine].tolist()
        assert mine[-1] == place
        assert ids[0] == ids[-1] == data.end_of_document
        found.append((data.tokenizer.decode(ids[1:-1]), data.classes[label]))
    return found


@pytest.mark.parametrize("too_long", ["cut", "drop"])
def test_every_text_is_once_in_a_row_with_its_class(rows, tmp_path, too_long):
    path = written(tmp_path / "rows.jsonl", rows)
    data = opened(path, written(tmp_path / "other.jsonl", rows[:9]), too_long=too_long)
    assert data.classes == ["3", "ham", "spam"]
    all_rows = data.rows(data.train)
    found = dict(read(data, all_rows.batch(range(len(all_rows)))))
    wanted = {row["text"]: str(row["label"]) for row in rows}
    (long,) = (text for text in wanted if len(text) > 100)
    label = wanted.pop(long)
    (cut,) = found.keys() - wanted.keys() if too_long == "cut" else [None]
    if cut is not None:
        assert long.startswith(cut)
        assert found.pop(cut) == label
        assert data.train.facts["cut"] == 1
    else:
        assert "the text has" in data.train.facts["faults"][0]
    assert found == wanted
    assert 0.7 < all_rows.filled <= 1
    past = all_rows.batch([len(all_rows), len(all_rows) + 1])
    assert (past.inputs.shape, past.ends.numel()) == ((2, 24), 0)


def test_what_has_no_class_is_predicted_but_not_measured(rows, tmp_path):
    path = written(tmp_path / "rows.jsonl", rows)
    odd = [{"text": "Who?", "label": "odd"}, {"text": "And who else?"}, {"text": "What?", "label": None}]
    told = r"3 of 6 texts to measure on are of none of the classes: without a label \(2\), odd \(1\); only"
    with pytest.warns(UserWarning, match=told):
        data = opened(path, written(tmp_path / "other.jsonl", [*odd, *rows[:3]]))
    measured = data.rows(data.validation)
    assert sorted(read(data, measured.batch(range(len(measured))))) == sorted(
        (row["text"], str(row["label"])) for row in rows[:3]
    )
    data.setup("predict")
    batches = [*data.predict_dataloader()]
    found = {
        number: label
        for batch in batches
        for number, label in zip(batch.examples.tolist(), batch.labels.tolist(), strict=True)
    }
    assert sorted(found) == [*range(6)]
    assert [found[number] for number in range(3)] == [NO_CLASS] * 3
    assert data.row_name(4).endswith("other.jsonl, row 5")
    with pytest.raises(UserError, match=r"3 of 3 texts .* give data.validation_source rows whose label is 3 or ham or"):
        opened(path, written(tmp_path / "odd.jsonl", odd))


def test_what_is_dropped_has_no_class_to_count(rows, tmp_path):
    odd = [{"text": "Who? " * 40, "label": "odd"}, {"text": "And who?", "label": "odd"}]
    with pytest.warns(UserWarning, match=r"1 of 2 texts to measure on are of none of the classes: odd \(1\)"):
        opened(
            written(tmp_path / "rows.jsonl", rows),
            written(tmp_path / "odd.jsonl", [odd[0], odd[1], rows[0]]),
            too_long="drop",
        )


def test_without_a_label_nothing_is_learned(rows, tmp_path):
    bare = [{"text": f"Who are you, {n}?"} for n in range(40)]
    path = written(tmp_path / "rows.jsonl", [*bare, *rows])
    data = opened(path)
    (said,) = data.train.facts["faults"]
    assert "it has no label: give one" in said
    assert len(data.rows(data.train)._store) < len(rows)
    with pytest.raises(UserError, match="it has no label"):
        opened(path, strict=True)
    with pytest.raises(UserError, match=r"all rows to train on have no label: .* name the label by columns"):
        opened(written(tmp_path / "bare.jsonl", bare))


def test_a_text_that_spells_a_special_token_is_a_fault(rows, tmp_path):
    path = written(tmp_path / "rows.jsonl", [*rows, {"text": "It ends<|endoftext|>", "label": "ham"}])
    assert "row 41: the text spells <|endoftext|>" in opened(path).train.facts["faults"][0]


def test_one_class_is_too_few(rows, tmp_path):
    path = written(tmp_path / "rows.jsonl", [row for row in rows if row["label"] == "ham"])
    with pytest.raises(UserError, match="all rows to train on have the label ham: give rows of two classes"):
        opened(path)


def test_what_is_held_out_is_not_trained_on_whatever_its_label(rows, tmp_path):
    twice = [*rows, *({**row, "label": "ham"} for row in rows)]
    data = opened(written(tmp_path / "rows.jsonl", twice))
    sides = [{tuple(store[n][0].ids.tolist()) for n in range(len(store))} for store in (data.train, data.validation)]
    assert all(sides)
    assert not sides[0] & sides[1]


def test_numbers_and_words_that_look_alike_are_one_class(rows, tmp_path):
    mixed = [{**row, "label": row["label"] if n % 2 else str(row["label"])} for n, row in enumerate(rows)]
    data = opened(written(tmp_path / "rows.jsonl", mixed))
    assert data.classes == ["3", "ham", "spam"]
    assert torch.equal(torch.from_numpy(data.train.numbers[:, 0]).unique(), torch.arange(3.0))
