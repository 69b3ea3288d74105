import json
import random
import sys
from pathlib import Path

import pytest
from data_samples import sentences
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from lmkit.data import tokenizer as tokenizing
from lmkit.data.named_tokens import FILES, named
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


def bytes_with(*special: str, plain: tuple[str, ...] = ()) -> Tokenizer:
    """Every byte, then these tokens."""
    made = Tokenizer(models.BPE({byte: n for n, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_tokens([AddedToken(token, normalized=False) for token in plain])
    made.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return made


DEEPSEEK = "<｜end▁of▁sentence｜>"  # noqa: RUF001


@pytest.mark.parametrize(
    ("special", "eos", "end"),
    [
        (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", "<|endoftext|>"),  # Qwen, SmolLM 2, OLMo 3
        (("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"), "<|eot_id|>", "<|end_of_text|>"),  # Llama 3
        (("<|begin_of_text|>", "<|end_of_text|>", "<|im_end|>"), "<|im_end|>", "<|end_of_text|>"),  # SmolLM 3
        (("<|return|>", "<|endoftext|>", "<|call|>"), "<|return|>", "<|endoftext|>"),  # GPT-OSS
        (("<｜begin▁of▁sentence｜>", DEEPSEEK), DEEPSEEK, DEEPSEEK),  # noqa: RUF001
        (("<unk>", "<s>", "</s>"), "</s>", "</s>"),  # Llama 2, Mistral
        (("<s>", "</s>", "<|endoftext|>", "<|end|>"), "<|endoftext|>", "<|endoftext|>"),  # Phi 3
        (("<|endoftext|>", "</s>"), "</s>", "</s>"),  # both are known: what the folder says counts
        (("<BOS_TOKEN>", "<|stop|>"), "<|stop|>", "<|stop|>"),  # no known name
        (("[BOS]", "[EOS]"), None, "[EOS]"),
        (("<|endoftext|>",), "<none of its own>", "<|endoftext|>"),
    ],
)
@pytest.mark.parametrize("where", ["special_tokens_map.json", "tokenizer_config.json", "config.json"])
def test_what_ends_a_document_is_a_known_name_or_else_what_stands_beside(
    tmp_path: Path, special: tuple[str, ...], eos: str | None, end: str, where: str
) -> None:
    made = bytes_with(*special)
    made.save(str(tmp_path / "tokenizer.json"))
    number = made.token_to_id(eos) if eos else None
    told = {"eos_token_id": [number, 3]} if where == "config.json" else {"eos_token": eos and {"content": eos}}
    (tmp_path / where).write_text(json.dumps(told if number is not None or where != "config.json" else {}))
    for path in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path)):
        loaded, found = tokenizing.load_with_end(path)
        assert loaded.id_to_token(found) == end
        assert loaded.encode(end).ids != [found]
        assert tokenizing.load(path).to_str() == loaded.to_str() == made.to_str()


def test_a_token_of_a_known_name_that_is_not_special_ends_nothing() -> None:
    """Gemma's `</s>` is the end of struck-out HTML."""
    made = bytes_with("<pad>", "<eos>", plain=("<|endoftext|>", "</s>"))
    assert made.id_to_token(tokenizing.end_of_document(made)) == "<eos>"


def test_the_tokenizers_own_files_count_before_the_models() -> None:
    def told(**files: dict[str, object]) -> dict[str, str | int]:
        return named({name: files.get(name.removesuffix(".json"), {}) for name in FILES})

    old, new, model = {"eos_token": "a"}, {"eos_token": "b"}, {"eos_token_id": 7, "bos_token_id": [3, 4]}
    assert told(special_tokens_map=old, tokenizer_config=new) == {"eos_token": "a"}
    assert told(special_tokens_map=old, tokenizer_config=new | {"added_tokens_decoder": {}}) == {"eos_token": "b"}
    assert told(tokenizer_config=new, config=model) == {"bos_token": 3, "eos_token": "b"}
    assert told(tokenizer_config={"eos_token": None}, config=model) == {"bos_token": 3}
    assert told(config={"eos_token_id": None, "pad_token_id": -1}, generation_config=model | {"pad_token_id": 0}) == {
        "bos_token": 3,
        "eos_token": 7,
        "pad_token": 0,
    }
    assert told(config={"text_config": {"eos_token_id": 5}}) == {"eos_token": 5}


def test_a_damaged_file_beside_a_tokenizer_is_told(tmp_path: Path) -> None:
    bytes_with("<|endoftext|>").save(str(tmp_path / "tokenizer.json"))
    for text, said in (
        ("{", "is not JSON"),
        ("[]", "holds a list"),
        ('{"eos_token_id": 0.5}', "eos_token_id in config"),
    ):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UserError, match=said) as error:
            tokenizing.load(tmp_path)
        assert "\n" not in str(error.value)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*config\.json \(Is a directory\)"):
        tokenizing.load(tmp_path)
