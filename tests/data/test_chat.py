"""Conversations as rows: whole ones, cut by whole turns where they are too long, split by their question."""

import json

import pytest
import torch

from lmkit.data.chat import Chat
from lmkit.data.chat_templates import Plain
from lmkit.errors import UserError
from lmkit.tasks.token_losses import tell_rows


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))


def written(folder, talks):
    path = folder / "chats.jsonl"
    roles = ("user", "assistant")
    rows = [[{"role": roles[n % 2], "content": text} for n, text in enumerate(talk)] for talk in talks]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return str(path)


def opened(source, **options):
    data = Chat(source, **{"validation_fraction": 0.3, "context": 48, "batch_size": 2, "template": Plain(), **options})
    data.prepare_data()
    data.setup("fit")
    return data


def texts(data):
    stores = (data.train, data.validation)
    return {data.tokenizer.decode(store[n][0].ids) for store in stores for n in range(len(store))}


def test_whole_conversations_are_kept(tmp_path):
    talks = [[f"ask {n}", f"say {n}", "more", f"and {n}"] for n in range(20)]
    data = opened(written(tmp_path, talks))
    assert texts(data) == {f"User: ask {n}\nAssistant: say {n}\nUser: more\nAssistant: and {n}" for n in range(20)}
    assert data.bytes_per_token == pytest.approx(
        sum(len(text) for text in data.validation_text())
        / sum(int(data.validation[n][0].trained[1:].sum()) for n in range(len(data.validation)))
    )


@pytest.mark.parametrize("too_long", ["cut", "drop"])
def test_what_is_too_long_is_cut_by_whole_turns_or_dropped(tmp_path, too_long):
    talks = [[f"ask {n}", f"say {n}", "more", "word " * 100] for n in range(10)]
    talks += [[f"beg {n}", f"tell {n}"] for n in range(10)]
    data = opened(written(tmp_path, talks), too_long=too_long, context=32)
    kept = texts(data)
    assert len(kept) == (20 if too_long == "cut" else 10)
    assert not any("more" in text for text in kept)
    assert data.train.facts["cut"] + data.validation.facts["cut"] == (10 if too_long == "cut" else 0)
    assert any("a row takes 32" in line for line in data.train.facts["faults"]) == (too_long == "drop")


def test_what_is_learned_of_the_last_turn_only_is_not_cut(tmp_path):
    talks = [[f"ask {n}", f"say {n}", "more", "and more " * (90 if n == 3 else 1)] for n in range(10)]
    (said,) = opened(written(tmp_path, talks), train_on="last", context=48).train.facts["faults"]
    assert "is not cut, since its last turn is what is learned (data.train_on): give a longer data.context" in said


def test_predict_reads_each_conversation_by_itself(tmp_path):
    talks = [[f"ask {n}", f"say {n}"] for n in range(40)]
    data = opened(written(tmp_path, talks))
    assert len(data.rows(data.validation)) < len(data.validation)
    data.setup("predict")
    rows = [row for batch in data.predict_dataloader() for row in zip(*batch, strict=True)][: len(data.validation)]
    for number, (inputs, targets, _) in enumerate(rows):
        place = int(data.row_name(number).rpartition(" ")[2]) - 1
        assert data.tokenizer.decode(inputs.tolist()).startswith(f"User: ask {place}\nAssistant: say {place}")
        assert data.tokenizer.decode(targets[targets >= 0].tolist()) == f" say {place}"


def test_what_is_predicted_is_told_apart_from_what_was_asked(tmp_path):
    data = opened(written(tmp_path, [[f"ask {n}", f"say {n}", "more", f"and {n}"] for n in range(20)]))
    data.setup("predict")
    told = []
    for number, batch in enumerate(data.predict_dataloader()):
        counts = (batch.targets >= 0).sum(1)
        told += tell_rows(torch.stack([3.0 * counts, counts], 1), batch, number, data.tokenizer)
    assert len(told) == len(data.validation)
    for row in told:
        place = int(data.row_name(row["row"]).rpartition(" ")[2]) - 1
        assert row["prompt"] == f"User: ask {place}\nAssistant:"
        assert row["text"] == f"say {place}\nand {place}"
        assert row["loss"] == 3


def test_a_question_is_on_one_side(tmp_path):
    talks = [[f"ask {n % 7}", f"say {n}"] for n in range(70)]
    data = opened(written(tmp_path, talks))
    sides = [
        {data.tokenizer.decode(store[n][0].ids).split("\n")[0] for n in range(len(store))}
        for store in (data.train, data.validation)
    ]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 7


def test_a_question_is_on_one_side_whatever_its_messages_have_beside_it(tmp_path):
    rows = []
    for number in range(60):
        for more in ({}, {"name": f"user {number}"}, {"id": number, "weight": 1}):
            asked, said = {"role": "user", "content": f"ask {number}"}, {"role": "assistant", "content": "so"}
            rows.append({"messages": [{"role": "system", "content": f"be {len(rows) % 5}"}, asked | more, said]})
    (tmp_path / "chats.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    data = opened(tmp_path / "chats.jsonl")
    sides = [
        {data.tokenizer.decode(store[n][0].ids).split("ask ")[1].split("\n")[0] for n in range(len(store))}
        for store in (data.train, data.validation)
    ]
    assert len(sides[0]) + len(sides[1]) == 60
    assert not sides[0] & sides[1]


def test_the_cache_is_of_all_that_decides(tmp_path):
    source = written(tmp_path, [[f"ask {n}", f"say {n}"] for n in range(20)])
    given = ({}, {}, {"train_on": "all"}, {"context": 40})
    folders = {opened(source, **options)._preparation.folder() for options in given}
    assert len(folders) == 3


def test_the_same_batches_come_again(tmp_path):
    source = written(tmp_path, [[f"ask {n}", f"say {n}"] for n in range(20)])
    one, other = (next(iter(opened(source, seed=3).train_dataloader())) for _ in range(2))
    assert one.inputs.tolist() == other.inputs.tolist()
    assert one.targets.tolist() == other.targets.tolist()


def test_rows_are_longer_than_a_token():
    with pytest.raises(UserError, match="context is 1"):
        Chat("stdlib", context=1)


def test_of_a_conversation_that_is_cut_the_last_turn_is_not_another(tmp_path):
    talks = [[f"ask {n}", "say " + "word " * 10, "and", "then " + "word " * 60] for n in range(20)]
    source = written(tmp_path, [*talks, *[[f"short {n}", "say"] for n in range(20)]])
    data = opened(source, context=80, train_on="last")
    assert len(data.train) + len(data.validation) == 20
    assert len(opened(source, context=80).train) > 20
