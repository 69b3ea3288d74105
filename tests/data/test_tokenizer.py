import random
import sys
from pathlib import Path

import pytest
from data_samples import sentences
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from lmkit.data import tokenizer as tokenizing
from lmkit.errors import UserError

HARD = [
    "",
    " ",
    "\r\n",
    "\n\r\n \t\n",
    "  two leading spaces",
    "trailing  ",
    "<|endoftext|>",
    "a<|endoftext|>b <|endoftext|>",
    "e\u0301 and a lone \u0301",
    "\u0000\u0001\u007f\u0085\u200d\ufeff\uffff",
    "👩‍👩‍👧‍👦🏳️‍🌈 🇩🇪",
    "日本語のテキスト",
    "ﬁ Å ①",
    "def f():\n    return 12345678\n\n\tx",
    "İstanbul ß ǅ",
]


def random_texts(count: int) -> list[str]:
    chance = random.Random(0)
    alphabets = [range(32), range(128), range(0x300, 0x370), range(0xD800), range(0xE000, sys.maxunicode + 1)]
    extra = ["<|endoftext|>", "\r\n", "  ", "\n    ", "'s", "12345"]
    return [
        "".join(
            chance.choice(extra) if chance.random() < 0.2 else chr(chance.choice(chance.choice(alphabets)))
            for _ in range(chance.randint(1, 40))
        )
        for _ in range(count)
    ]


def test_any_text_round_trips_and_none_makes_the_special_token(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for used in (tokenizer, tokenizing.load(tmp_path / "tokenizer.json")):
        texts = HARD + random_texts(2000)
        for text, encoding in zip(texts, used.encode_batch_fast(texts, add_special_tokens=False), strict=True):
            assert used.decode(encoding.ids, skip_special_tokens=False) == text
            assert used.decode(encoding.ids) == text
            assert 0 not in encoding.ids


def test_training_is_deterministic() -> None:
    texts = sentences(500)
    assert tokenizing.train(iter(texts), 500).to_str() == tokenizing.train(iter(texts), 500).to_str()


def test_vocabulary(tokenizer: Tokenizer) -> None:
    assert tokenizing.end_of_document(tokenizer) == tokenizer.token_to_id("<|endoftext|>") == 0
    assert tokenizing.vocab_size_used(tokenizer) == 300
    smallest = tokenizing.train(iter(["ab"]), 257)
    assert tokenizing.vocab_size_used(smallest) == 257
    assert set(pre_tokenizers.ByteLevel.alphabet()) < set(smallest.get_vocab())
    few = tokenizing.train(iter(["abab"]), 5000)
    assert 257 < tokenizing.vocab_size_used(few) < 270
    with pytest.raises(UserError, match="vocab_size 256 cannot hold"):
        tokenizing.train(iter(["ab"]), 256)


def test_an_error_of_the_texts_is_not_lost() -> None:
    def texts():
        yield "fine"
        raise UserError("the file is damaged")

    with pytest.raises(UserError, match="the file is damaged"):
        tokenizing.train(texts(), 300)


def test_indentation_is_one_token_with_its_line_end() -> None:
    trained = tokenizing.train(iter(["if x:\n        y\n        z\n"] * 9), 400)
    assert any("Ċ" in token and "ĠĠĠĠĠĠĠĠ" in token for token in trained.get_vocab())


@pytest.mark.parametrize("end", ["<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "[SEP]"])
def test_loads_a_foreign_tokenizer_for_raw_text(tmp_path: Path, end: str) -> None:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens([AddedToken("<pad>", special=True), AddedToken(end, special=True)])
    vocabulary = {symbol: n + 2 for n, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made.model = models.BPE(vocab={"<pad>": 0, end: 1} | vocabulary, merges=[])
    made.enable_truncation(4)
    made.enable_padding(length=8)
    made.save(str(tmp_path / "tokenizer.json"))
    loaded = tokenizing.load(tmp_path / "tokenizer.json")
    assert tokenizing.end_of_document(loaded) == 1
    ids = loaded.encode(f"longer {end}").ids
    assert len(ids) == len(f"longer {end}")
    assert 1 not in ids


def test_load_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer at"):
        tokenizing.load(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match=r"is not a tokenizer\.json"):
        tokenizing.load(tmp_path / "tokenizer.json")
    Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"no end-of-document token; add one of <\|endoftext\|>"):
        tokenizing.load(tmp_path / "tokenizer.json")
    Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match='cannot tell the text "</s>"'):
        tokenizing.load(tmp_path / "tokenizer.json")
