"""Preferences as examples: what both answers share comes once, and what they differ in is learned."""

import json
import warnings

import pytest

from lmkit.data.chat_templates import ChatML
from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.preferences import Preferences
from lmkit.errors import UserError


def pairs(folder, rows):
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))


def opened(source, **options):
    data = Preferences(source, validation_fraction=0.2, context=64, batch_size=4, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def row(number, chosen, rejected):
    return {"prompt": f"question {number}", "chosen": chosen, "rejected": rejected}


def test_pieces_are_the_conversations_of_both_answers(tmp_path):
    rows = [row(n, f"the answer is {n}", f"the answer is {n + 1}, or so") for n in range(20)]
    data = opened(pairs(tmp_path, rows), template=ChatML())
    found = set()
    for store in (data.train, data.validation):
        for number in range(len(store)):
            shared, *answers = store[number]
            texts = [data.tokenizer.decode([*shared.ids, *answer.ids], skip_special_tokens=False) for answer in answers]
            assert not shared.trained.any()
            assert all(answer.trained.all() for answer in answers)
            assert data.tokenizer.decode(shared.ids, skip_special_tokens=False).endswith("<|im_start|>assistant\n")
            found.add(tuple(texts))
    template = "<|im_start|>user\nquestion {}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>"
    assert found == {tuple(template.format(n, rows[n][key]) for key in ("chosen", "rejected")) for n in range(20)}
    batch = next(iter(data.train_dataloader()))
    assert batch.roles.tolist() == [CHOSEN, REJECTED] * 4


def test_a_prompt_that_is_too_long_loses_its_oldest_turns(tmp_path):
    old = [{"role": "user", "content": "old words " * 30}, {"role": "assistant", "content": "yes"}]
    new = [{"role": "user", "content": "new"}]
    rows = [{"prompt": old + new, "chosen": f"a {n}", "rejected": f"b {n}"} for n in range(10)]
    rows += [row(n, "c", "d") for n in range(10)]
    source = pairs(tmp_path, rows)
    data = opened(source)
    texts = [data.tokenizer.decode(data.train[n][0].ids) for n in range(len(data.train))]
    assert data.train.facts["cut"] + data.validation.facts["cut"] == 10
    assert not any("old" in text for text in texts)
    dropped = opened(source, too_long="drop")
    assert len(dropped.train) + len(dropped.validation) == 10


def test_length_that_tells_the_choice_is_told(tmp_path):
    even = [row(n, *(("a b c", "d")[:: (-1) ** n])) for n in range(40)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(pairs(tmp_path, even))
    with pytest.warns(match="the longer answer is chosen in 100% of the pairs"):
        opened(pairs(tmp_path, [row(n, "a b c d e f", "d") for n in range(40)]))


def test_pairs_that_do_not_differ_are_left_out(tmp_path):
    rows = [row(n, "yes", "yes ") for n in range(10)]
    with pytest.raises(UserError, match="are the same tokens"):
        opened(pairs(tmp_path, rows))
