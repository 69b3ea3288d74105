"""Tokenizers in GGUF files: all that llama.cpp is told of them, and those that it would take for others."""

import json

import pytest
from tokenizers import Tokenizer

from lmkit.data.tokenizer import SPLIT
from lmkit.errors import UserError
from lmkit.hf.gguf import Gguf
from lmkit.hf.gguf.splits import GPT4, GPT4O
from lmkit.hf.tokens.files import read
from tests.hf.gguf_files import keys_of, written
from tests.hf.gguf_networks import anatomy, network
from tests.hf.gguf_tokenizers import byte_level, files, sentence_piece
from tests.hf.toy_tokenizers import SHAPES

gguf = pytest.importorskip("gguf")


def test_a_byte_level_tokenizer_is_all_there(tmp_path):
    made = byte_level((GPT4,), ignore_merges=True)
    config = {"eos_token": "<|im_end|>", "chat_template": "{{ messages }}", "pad_token": "<|endoftext|>"}
    _, _, reader = written(tmp_path, "llama", "f32", files(tmp_path / "t", made, **config), vocab_size=1002)
    keys = {name.removeprefix("tokenizer."): value for name, value in keys_of(reader).items()}
    assert (keys["ggml.model"], keys["ggml.pre"]) == ("gpt2", "llama-bpe")
    assert keys["ggml.tokens"][:1000] == [made.id_to_token(number) for number in range(1000)]
    assert keys["ggml.tokens"][1000:] == ["[PAD1000]", "[PAD1001]"]
    assert keys["ggml.token_type"] == [3, 3] + [1] * 998 + [5, 5]
    assert keys["ggml.merges"] == [" ".join(pair) for pair in json.loads(made.to_str())["model"]["merges"]]
    assert (keys["ggml.eos_token_id"], keys["ggml.padding_token_id"]) == (1, 0)
    assert (keys["ggml.add_bos_token"], keys["ggml.add_eos_token"]) == (False, False)
    assert keys["chat_template"] == "{{ messages }}"


def test_a_tokenizer_of_sentencepiece_has_scores_by_its_merges(tmp_path):
    made = sentence_piece(prefix=True)
    tokenizer = files(tmp_path / "t", made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    _, _, reader = written(tmp_path, "llama", "f32", tokenizer, vocab_size=700)
    keys = {name.removeprefix("tokenizer.ggml."): value for name, value in keys_of(reader).items()}
    assert (keys["model"], keys["add_space_prefix"], keys["add_bos_token"]) == ("llama", True, True)
    assert keys["token_type"][:4] == [2, 3, 3, 6]
    merges = ["".join(pair) for pair in json.loads(made.to_str())["model"]["merges"]]
    scores = dict(zip(keys["tokens"], keys["scores"], strict=True))
    assert [scores[token] for token in dict.fromkeys(merges)] == [-n for n in range(len(set(merges)))]


@pytest.mark.parametrize(
    ("shape", "split", "begins", "remark"),
    [("qwen", "qwen2", False, "NFC"), ("gpt2", "gpt-2", False, None), ("deepseek", "gpt-2", True, None)],
)
def test_tokenizers_of_families_are_known(tmp_path, shape, split, begins, remark):
    tokenizer = read(SHAPES[shape](tmp_path / "t"))
    parts = anatomy("llama", vocab_size=320)
    model = Gguf(parts, network(parts).state_dict(), tokenizer, "x")
    assert [remark in said for said in model.remarks] == [True] * bool(remark)
    model.write(tmp_path / "model.gguf", "f16")
    keys = keys_of(gguf.GGUFReader(tmp_path / "model.gguf"))
    assert (keys["tokenizer.ggml.pre"], keys["tokenizer.ggml.add_bos_token"]) == (split, begins)
    assert keys["tokenizer.ggml.eos_token_id"] == tokenizer.stops[0]
    assert keys.get("tokenizer.ggml.eot_token_id") == tokenizer.end_of_turn
    assert keys.get("tokenizer.chat_template") == tokenizer.chat_template
    assert keys.get("tokenizer.chat_template.brief") == tokenizer.templates.get("brief")
    types = dict(zip(keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"], strict=True))
    assert types.get("<tool_call>", 4) == 4 and types.get("<|im_end|>", 3) == 3


def test_that_merges_are_ignored_for_tokens_matters_only_where_they_do_not_make_one(tmp_path):
    held = json.loads(byte_level((GPT4O,), ignore_merges=True).to_str())
    parts = anatomy("llama", vocab_size=1000)
    tokenizer = files(tmp_path / "t", Tokenizer.from_str(json.dumps(held)))
    model = Gguf(parts, network(parts).state_dict(), tokenizer, "x")
    model.write(tmp_path / "model.gguf", "f16")
    assert keys_of(gguf.GGUFReader(tmp_path / "model.gguf"))["tokenizer.ggml.pre"] == "gpt-4o"
    del held["model"]["merges"][100]
    tokenizer = files(tmp_path / "u", Tokenizer.from_str(json.dumps(held)))
    with pytest.raises(UserError, match="does not cut text as this tokenizer does"):
        Gguf(parts, network(parts).state_dict(), tokenizer, "x")


def test_added_tokens_past_the_rows_are_left_out_and_others_are_refused(tmp_path):
    made = byte_level((GPT4,))
    made.add_special_tokens(["<image>"])
    parts = anatomy("llama", vocab_size=1000)
    model = Gguf(parts, network(parts).state_dict(), files(tmp_path / "t", made), "x")
    model.write(tmp_path / "model.gguf", "f16")
    assert len(keys_of(gguf.GGUFReader(tmp_path / "model.gguf"))["tokenizer.ggml.tokens"]) == 1000
    parts = anatomy("llama", vocab_size=999)
    with pytest.raises(UserError, match="the network 999 rows"):
        Gguf(parts, network(parts).state_dict(), files(tmp_path / "t", made), "x")


def test_lmkits_own_tokenizer_is_written_with_a_remark(tmp_path):
    parts = anatomy("llama", vocab_size=1000)
    model = Gguf(parts, network(parts).state_dict(), files(tmp_path, byte_level((SPLIT,))), "x")
    assert len(model.remarks) == 1 and "superbpe" in model.remarks[0]


def test_merges_in_another_order_than_sentencepieces_are_refused(tmp_path):
    held = json.loads(sentence_piece(prefix=True).to_str())
    merges = held["model"]["merges"]
    made = ["".join(pair) for pair in merges]
    several = next(place for place, token in enumerate(made) if made.count(token) > 1)
    merges.append(merges.pop(several))
    tokenizer = files(tmp_path, Tokenizer.from_str(json.dumps(held)), bos_token="<s>", eos_token="</s>")
    parts = anatomy("llama", vocab_size=700)
    with pytest.raises(UserError, match="their order is another"):
        Gguf(parts, network(parts).state_dict(), tokenizer, "x")


def test_of_metaspace_it_is_remarked_or_refused_what_llama_cpp_does_otherwise(tmp_path):
    held = json.loads(sentence_piece(prefix=True).to_str())
    step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": False}
    parts = anatomy("llama", vocab_size=700)
    for split in (False, True):
        step["split"] = split
        made = Tokenizer.from_str(json.dumps(held | {"normalizer": None, "pre_tokenizer": step}))
        tokenizer = files(tmp_path / "t", made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
        if split:
            with pytest.raises(UserError, match="cuts texts before each space"):
                Gguf(parts, network(parts).state_dict(), tokenizer, "x")
        else:
            [said] = Gguf(parts, network(parts).state_dict(), tokenizer, "x").remarks
            assert "before texts that begin with one" in said


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ("unigram", "the tokenizer is Unigram"),
        ("metaspace", "merges are not as SentencePiece's"),
        ("own", "does not cut text as this tokenizer does"),
        ("small", "the network 96 rows"),
    ],
)
def test_tokenizers_that_llama_cpp_has_not_are_refused_in_one_line(tmp_path, shape, reason):
    if shape in SHAPES:
        tokenizer = read(SHAPES[shape](tmp_path))
    else:
        tokenizer = files(tmp_path, byte_level(("[a-z]+|.",) if shape == "own" else (GPT4,)))
    parts = anatomy("llama", vocab_size=96 if shape == "small" else 1000)
    with pytest.raises(UserError, match=reason) as raised:
        Gguf(parts, network(parts).state_dict(), tokenizer, "x")
    assert "\n" not in str(raised.value)
