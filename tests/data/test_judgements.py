"""Judgements: each answer has its role, and beside it always the same answer to another prompt, which has room."""

import json

import numpy as np
import pytest

from lmkit.data.examples.elsewhere import of_another_prompt
from lmkit.data.examples.roles import CHOSEN, MISMATCHED, REJECTED, UNJUDGED
from lmkit.data.judgements import Judgements
from lmkit.data.preferences import Preferences
from lmkit.errors import UserError

CONTEXT = 48


def opened(cls, path, **options):
    data = cls(source=str(path), context=CONTEXT, validation_fraction=0.3, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def test_answers_without_a_label_are_predicted_and_neither_learned_nor_measured(pairs, tmp_path):
    def given(name, prompt):
        rows = [{"prompt": prompt.format(n), "completion": f"It is {n}"} for n in range(3)]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
        data = Judgements(source=str(pairs), validation_source=str(tmp_path / name), context=CONTEXT)
        data.prepare_data()
        return data

    with pytest.raises(UserError, match="3 of 3 answers to measure on have no label"):
        given("several.jsonl", "What is {}?").setup("fit")
    data = given("answers.jsonl", "What is 7?")  # to be compared with one another
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert batch.roles.tolist() == [UNJUDGED] * 3
    assert batch.examples.tolist() == [0, 1, 2]
    assert data.row_name(2).endswith("answers.jsonl, row 3")
    data = Judgements(source=str(tmp_path / "answers.jsonl"), context=CONTEXT)
    with pytest.raises(UserError, match="it has no label: give true or false, or name it by columns"):
        data.prepare_data()


def test_answers_of_one_kind_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    rows = [{"prompt": f"What is {n}?", "completion": f"{n}", "label": True} for n in range(20)]
    (tmp_path / "good.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(UserWarning, match="all answers to train on are good: give some of the other kind too"):
        opened(Judgements, tmp_path / "good.jsonl")


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    rows = [
        {"prompt": f"What is {n}?", "chosen": "A number" + " of many" * (n % 4), "rejected": f"No {n}"}
        for n in range(12)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "pairs.jsonl"


@pytest.fixture
def judged(pairs):
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    each = [
        {"prompt": row["prompt"], "completion": row[name], "label": name == "chosen"}
        for row in rows
        for name in ("chosen", "rejected")
    ]
    path = pairs.with_name("judged.jsonl")
    path.write_text("\n".join(map(json.dumps, each)))
    return path


def spoken(data, trees, owner):
    ids = trees.targets[trees.owners == owner].tolist()
    return data.tokenizer.decode([number for number in ids if number not in data.chat.stops])


def test_an_answer_has_its_role_and_another_prompts_answer_beside_it(judged):
    data = opened(Judgements, judged)
    rows = data.rows(data.train)
    trees = rows.batch(range(len(rows)))
    texts = {row["completion"].strip(): row for row in map(json.loads, judged.read_text().splitlines())}
    assert trees.roles.view(-1, 2)[:, 1].unique().tolist() == [MISMATCHED]
    assert trees.examples.view(-1, 2).tolist() == [[number] * 2 for number in range(len(rows))]
    for number, (own, _) in enumerate(trees.roles.view(-1, 2).tolist()):
        told = spoken(data, trees, 2 * number).strip()
        assert own == (CHOSEN if told.startswith("A number") else REJECTED)
        assert told in texts
        prompt = data.train[number][0].ids
        assert not np.array_equal(data.train[int(rows._others[number])][0].ids, prompt)
        ids = data.train[int(rows._others[number])][1].ids[: CONTEXT - len(prompt)]
        assert trees.targets[trees.owners == 2 * number + 1].tolist() == ids.tolist()
    assert (trees.roles == CHOSEN).sum() == (trees.roles == REJECTED).sum()
    again = rows.batch([3])
    assert again.targets[again.owners == 1].tolist() == trees.targets[trees.owners == 7].tolist()


def test_no_answer_is_longer_than_the_context(judged):
    data = opened(Judgements, judged)
    trees = data.rows(data.train).batch(range(len(data.train)))
    assert (trees.owners < len(trees.roles)).sum() > len(trees.roles)
    for owner, prompt in enumerate(trees.prompts.tolist()):
        branch = owner % 2 + 1
        mine = trees.branches[0, trees.documents[0] == prompt]
        assert 1 < ((mine == 0) | (mine == branch)).sum() <= CONTEXT


def test_a_pair_is_read_as_two_judgements(pairs, judged):
    one, other = (opened(Judgements, path) for path in (pairs, judged))
    assert one.train.fingerprint == other.train.fingerprint
    assert one.train.numbers.tolist() == other.train.numbers.tolist()


def test_rows_that_are_cut_otherwise_have_another_fingerprint(judged):
    one = opened(Judgements, judged)
    other = opened(Judgements, judged, seed=1)
    assert one.rows(one.train).fingerprint == other.rows(other.train).fingerprint
    other.context -= 1
    assert one.rows(one.train).fingerprint != other.rows(other.train).fingerprint


def test_one_prompt_is_too_few(judged):
    lines = judged.read_text().splitlines()
    judged.write_text("\n".join(lines[:2]))
    data = Judgements(source=str(judged), validation_source=str(judged), context=CONTEXT)
    data.prepare_data()
    with pytest.raises(UserError, match="the 2 judgements in train are all of one prompt"):
        data.setup("fit")


def test_judgements_are_no_pairs(judged):
    with pytest.raises(UserError, match="a Preference is read by"):
        opened(Preferences, judged)


def test_the_next_answer_of_another_prompt_is_the_one_that_a_search_finds():
    draw = np.random.default_rng(0)
    for count in range(2, 40):
        prompts = np.repeat(draw.integers(0, draw.integers(2, 5), count), draw.integers(1, 6, count))[:count]
        prompts[draw.integers(count)] = 7  # so that there are two
        found = of_another_prompt(prompts)
        for number, prompt in enumerate(prompts):
            places = [(number + count // 2 + step) % count for step in range(count)]
            assert found[number] == next(place for place in places if prompts[place] != prompt)
