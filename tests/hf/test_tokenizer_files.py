import json
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import AddedToken, Tokenizer
from transformers import AutoTokenizer

from lmkit.data.tokenizer import for_raw_text
from lmkit.errors import UserError
from lmkit.hf.importing import folder_of
from lmkit.hf.tokens.files import TokenizerFiles, of_any_class, read, write
from tests.hf.toy_tokenizers import CHAT, SHAPES, byte_level, save, texts

transformers.logging.set_verbosity_error()

TALK = [
    {"role": "user", "content": "is the cat on the mat? "},
    {"role": "assistant", "content": "it ran"},
    {"role": "user", "content": "<b>why</b>"},
]
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "all_special_ids", "model_max_length")


@cache
def made(shape: str) -> tuple[Path, TokenizerFiles]:
    """A folder, which is only read, and what it says."""
    folder = made.folder / shape
    SHAPES[shape](folder)
    return folder, read(folder)


@pytest.fixture(autouse=True, scope="module")
def folders(tmp_path_factory):
    made.folder = tmp_path_factory.mktemp("folders")
    made.cache_clear()


def written(folder: Path, files: TokenizerFiles, config: Path | None = None) -> Path:
    folder.mkdir()
    write(folder, files)
    if config is not None:
        (folder / "config.json").write_bytes(config.read_bytes())
    return folder


def ids(tokenizer, special: bool) -> list[list[int]]:
    return tokenizer(texts(), add_special_tokens=special)["input_ids"]


def by_library(files: TokenizerFiles, special: bool) -> list[list[int]]:
    return [e.ids for e in Tokenizer.from_str(files.tokenizer).encode_batch(texts(), add_special_tokens=special)]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_is_to_transformers_what_was_read(tmp_path, shape):
    source, files = made(shape)
    folder = written(tmp_path / "out", files, source / "config.json")
    before, after = AutoTokenizer.from_pretrained(source), AutoTokenizer.from_pretrained(folder)
    assert type(after) is type(before)
    for special in (True, False):
        assert ids(after, special) == ids(before, special)
    assert [getattr(after, name) for name in TOKENS] == [getattr(before, name) for name in TOKENS]
    assert after.chat_template == before.chat_template
    for name in files.templates:
        for prompt in (True, False):
            options = {"chat_template": name, "tools": [{}], "tokenize": False, "add_generation_prompt": prompt}
            options = options if isinstance(before.chat_template, dict) else {**options, "chat_template": None}
            assert after.apply_chat_template(TALK, **options) == before.apply_chat_template(TALK, **options)
    tokens = (before.bos_token, before.eos_token, before.pad_token)
    assert (files.bos, files.eos, files.pad) == tokens


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_is_what_was_read(tmp_path, shape):
    source, files = made(shape)
    folder = written(tmp_path / "out", files, source / "config.json")
    assert read(folder) == files
    for name in ("tokenizer.json", "chat_template.jinja", "additional_chat_templates/brief.jinja"):
        if (source / name).exists():
            assert (folder / name).read_bytes() == (source / name).read_bytes()
    for name in ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json"):
        assert (folder / name).exists() == (source / name).exists()
        if (source / name).exists():
            assert json.loads((folder / name).read_bytes()) == json.loads((source / name).read_bytes())


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "metaspace"])
def test_transformers_takes_the_folder_as_the_library_takes_its_text(shape):
    """Llama 2's class in transformers 5 is left out, which makes its own tokenizer of the vocabulary."""
    source, files = made(shape)
    for special in (True, False):
        assert ids(AutoTokenizer.from_pretrained(source), special) == by_library(files, special)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("beside", [True, False])
def test_the_class_that_takes_any_tokenizer_does_so_beside_any_model(tmp_path, shape, beside):
    source, files = made(shape)
    folder = written(tmp_path / "out", of_any_class(files), source / "config.json" if beside else None)
    before, after = AutoTokenizer.from_pretrained(source), AutoTokenizer.from_pretrained(folder)
    for special in (True, False):
        assert ids(after, special) == by_library(files, special)
    assert [getattr(after, name) for name in TOKENS[:3]] == [getattr(before, name) for name in TOKENS[:3]]
    assert after.chat_template == before.chat_template
    assert set(after("the cat")) == {"input_ids", "attention_mask"}
    assert of_any_class(files).config["model_input_names"] == ["input_ids", "attention_mask"]  # transformers 4 needs it


@pytest.mark.parametrize(
    ("shape", "document", "turn", "stops"),
    [
        ("llama3", "<|end_of_text|>", "<|eot_id|>", ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]),
        ("qwen", "<|endoftext|>", "<|im_end|>", ["<|im_end|>", "<|endoftext|>"]),
        ("metaspace", "</s>", None, ["</s>"]),
        ("unigram", "<eos>", "<end_of_turn>", ["<eos>", "<end_of_turn>"]),
        ("deepseek", "<｜end▁of▁sentence｜>", "<｜end▁of▁sentence｜>", ["<｜end▁of▁sentence｜>"]),  # noqa: RUF001
        ("gpt2", "<|endoftext|>", None, ["<|endoftext|>"]),
    ],
)
def test_which_token_ends_what(shape, document, turn, stops):
    _, files = made(shape)
    known = Tokenizer.from_str(files.tokenizer)
    assert known.id_to_token(files.end_of_document) == document
    assert (files.end_of_turn and known.id_to_token(files.end_of_turn)) == turn
    assert [known.id_to_token(number) for number in files.stops] == stops


def test_the_end_of_a_turn_is_what_the_template_writes_behind_the_answer(tmp_path):
    """As in Phi 3, whose eos ends documents, and which lists the beginning of a turn among the ends."""
    names = ["<|endoftext|>", "<|assistant|>", "<|end|>", "<|end|>!"]
    tokenizer = byte_level(names)
    tokenizer.add_tokens([AddedToken("\n", normalized=False)])  # as in Gemma
    number = {name: tokenizer.token_to_id(name) for name in names}
    config = {"eos_token": "<|endoftext|>", "chat_template": CHAT.replace("STOP", "<|end|>")}
    generation = {"eos_token_id": [number[name] for name in names[:3]]}
    folder = save(tmp_path / "phi", tokenizer, tokenizer_config=config, generation_config=generation)
    assert read(folder).end_of_turn == number["<|end|>"]
    for template in ("{{ raise_exception('no') }}", "{{ nothing.at.all }}", "{% broken", "no answer"):
        (folder / "chat_template.jinja").write_text(template)
        assert read(folder).end_of_turn == number["<|assistant|>"]  # nothing better is told
    (folder / "chat_template.jinja").write_text(CHAT.replace("STOP", "\n<|end|>!"))
    assert read(folder).end_of_turn == number["<|end|>!"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_files_are_plain_data_that_a_checkpoint_keeps(tmp_path, shape):
    _, files = made(shape)
    torch.save({"lmkit": asdict(files)}, tmp_path / "a.ckpt")
    assert TokenizerFiles(**torch.load(tmp_path / "a.ckpt", weights_only=True)["lmkit"]) == files


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("described", [True, False])
def test_vocab_and_merges_are_what_gpt2s_class_makes_of_them(tmp_path, prefix, described):
    folder = SHAPES["gpt2"](tmp_path / "gpt2")
    named = {"pad_token": "<|pad|>", "add_prefix_space": prefix, "tokenizer_class": "GPT2Tokenizer"}
    if described:
        flags = {"lstrip": True, "rstrip": False, "normalized": False, "single_word": False, "special": True}
        more = {"302": {"content": "<more>", **flags, "special": False}, "301": {"content": "<|pad|>", **flags}}
        named["added_tokens_decoder"] = more
    else:
        (folder / "added_tokens.json").write_text(json.dumps({"<more>": 302, "<|pad|>": 301}))
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    files = read(folder)
    wanted = AutoTokenizer.from_pretrained(folder)
    assert type(wanted).__name__.startswith("GPT2Tokenizer")
    for special in (True, False):
        assert by_library(files, special) == ids(wanted, special)
    assert Tokenizer.from_str(files.tokenizer).get_vocab() == wanted.get_vocab()
    for text in ("the <|pad|>cat <more>.", "<more> <|endoftext|>"):
        here, there = Tokenizer.from_str(files.tokenizer).encode(text), wanted(text, return_offsets_mapping=True)
        assert here.ids == there["input_ids"]
        assert here.offsets == there["offset_mapping"]
    after = AutoTokenizer.from_pretrained(written(tmp_path / "out", files, folder / "config.json"))
    assert ids(after, True) == ids(wanted, True)
    assert after.get_vocab() == wanted.get_vocab()


def test_a_class_that_splits_in_another_way_is_left_for_the_text_of_the_tokenizer(tmp_path):
    source = SHAPES["deepseek"](tmp_path / "in")
    config = json.loads((source / "tokenizer_config.json").read_text())
    (source / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "LlamaTokenizerFast"}))
    files = read(source)
    after = AutoTokenizer.from_pretrained(written(tmp_path / "out", of_any_class(files), source / "config.json"))
    assert ids(after, True) == by_library(files, True)


def test_a_class_of_code_does_not_come_along(tmp_path):
    source = SHAPES["deepseek"](tmp_path / "in")
    config = {"tokenizer_class": "Theirs", "auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}}
    (source / "theirs.py").write_text("raise SystemExit('code was run')")
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    (source / "config.json").unlink()
    files = read(source)
    after = AutoTokenizer.from_pretrained(written(tmp_path / "out", files))
    assert ids(after, True) == by_library(files, True)
    assert after.eos_token == files.eos is None


def test_a_folder_of_the_hubs_cache_is_read_through_its_links(tmp_path):
    source, files = made("qwen")
    snapshot = tmp_path / "models--a--b/snapshots/0f"
    snapshot.mkdir(parents=True)
    blobs = tmp_path / "models--a--b/blobs"
    blobs.mkdir()
    for number, name in enumerate(["tokenizer.json", "tokenizer_config.json"]):
        (blobs / str(number)).write_bytes((source / name).read_bytes())
        (snapshot / name).symlink_to(f"../../blobs/{number}")
    assert read(snapshot).tokenizer == files.tokenizer
    (snapshot / "chat_template.jinja").symlink_to(source / "chat_template.jinja")
    with pytest.raises(UserError, match="is a link out of its folder"):
        read(snapshot)


def test_the_eyes_of_training_change_nothing_that_is_written(tmp_path):
    _, files = made("llama3")
    tokenizer = Tokenizer.from_str(files.tokenizer)
    for_raw_text(tokenizer, files.end_of_document)
    assert json.loads(tokenizer.to_str()) == json.loads(files.tokenizer)
    assert tokenizer.encode("<|eot_id|>", add_special_tokens=False).ids != [tokenizer.token_to_id("<|eot_id|>")]


BROKEN = {
    "tokenizer.json is cut": ({"tokenizer.json": '{"version": "1.0"'}, r"tokenizer\.json is not a tokenizer \("),
    "not UTF-8": ({"tokenizer.json": b"\xff\xfe"}, r"tokenizer\.json is not UTF-8 \(byte 0\)"),
    "settings are cut": (
        {"tokenizer_config.json": "{"},
        r"tokenizer_config\.json is not JSON as it should be",
    ),
    "settings are a list": ({"generation_config.json": "[]"}, r"generation_config\.json holds a list, not a JSON obj"),
    "settings nest": ({"config.json": "[" * 99999}, r"config\.json is not JSON as it should be \(maximum recursion"),
    "a folder": ({"tokenizer_config.json/a": ""}, r"cannot read \S+tokenizer_config\.json \(Is a directory\)"),
    "a folder as template": ({"chat_template.jinja/a": ""}, r"cannot read \S+chat_template\.jinja \(Is a directory\)"),
    "no such eos": ({"tokenizer_config.json": '{"eos_token": "<e>"}'}, r"names the token '<e>' \(eos_token\), which"),
    "no such id": ({"config.json": '{"bos_token_id": 999}'}, r"names the token 999 \(bos_token\), which its tok"),
    "no such stop": ({"generation_config.json": '{"eos_token_id": [1, 999]}'}, r"the token 999 \(eos_token_id\)"),
    "no such added": (
        {"tokenizer_config.json": '{"added_tokens_decoder": {"7": {"content": "<a>"}}}'},
        r"the token '<a>' \(added_tokens_decoder\)",
    ),
    "no such special": (
        {"tokenizer_config.json": '{"additional_special_tokens": ["<x>"]}'},
        r"the token '<x>' \(additional_special_tokens\)",
    ),
    "added by a file": ({"added_tokens.json": '{"<y>": 300}'}, r"the token '<y>' \(added_tokens\.json\)"),
    "eos is a number": (
        {"tokenizer_config.json": '{"eos_token": 1.5}'},
        r"eos_token in tokenizer_config\.json is '1\.5",
    ),
    "stop is a name": ({"generation_config.json": '{"eos_token_id": "</s>"}'}, r"eos_token_id in gen.* give the id"),
    "template is a number": ({"tokenizer_config.json": '{"chat_template": 3}'}, "holds something else than texts"),
    "templates are": ({"tokenizer_config.json": '{"chat_template": ["a"]}'}, "is a list of something else than names"),
    "no tokenizer": ({"tokenizer.json": None}, r"holds no tokenizer: give one by --tokenizer PATH"),
    "SentencePiece": (
        {"tokenizer.json": None, "tokenizer.model": b"\x0a"},
        r"its tokenizer as tokenizer\.model, but .*AutoTokenizer\.from_pretrained\('\S+'\)\.save_pretrained",
    ),
    "Qwen's two files": (
        {
            "tokenizer.json": None,
            "vocab.json": "{}",
            "merges.txt": "",
            "tokenizer_config.json": '{"tokenizer_class": "Qwen2Tokenizer"}',
        },
        r"its tokenizer of the class Qwen2Tokenizer as merges\.txt, vocab\.json, but a tokenizer\.json is needed",
    ),
    "vocab without merges": ({"tokenizer.json": None, "vocab.json": "{}"}, r"as vocab\.json, but a tokenizer\.json"),
    "vocab of texts": (
        {"tokenizer.json": None, "vocab.json": '{"a": "b"}', "merges.txt": ""},
        r"vocab\.json does not number its 1 tokens from 0 on",
    ),
    "merges of three": (
        {"tokenizer.json": None, "vocab.json": '{"a": 0}', "merges.txt": "#version: 0.2\na b c\n"},
        r"line 2 of \S+merges\.txt is 'a b c', but a merge is two tokens",
    ),
    "merges of others": (
        {"tokenizer.json": None, "vocab.json": '{"a": 0}', "merges.txt": "x y\n"},
        r"vocab\.json and merges\.txt in \S+ do not fit each other",
    ),
    "another number": (
        {"tokenizer.json": None, "vocab.json": '{"a": 0}', "merges.txt": "", "added_tokens.json": '{"<x>": 5}'},
        r"says that '<x>' is token 5, but beside vocab\.json it would be 1",
    ),
}


@pytest.mark.parametrize("why", BROKEN)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path, why):
    files, said = BROKEN[why]
    folder = save(tmp_path / "in", byte_level(["<|endoftext|>"]))
    for name, held in files.items():
        (folder / name).unlink(missing_ok=True)
        if held is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(held if isinstance(held, bytes) else held.encode())
    with pytest.raises(UserError, match=said) as refused:
        read(folder)
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="no folder"):
        read(folder / "nowhere")


def test_a_folder_may_be_told_by_its_tokenizer_json(tmp_path):
    folder = save(tmp_path / "in", byte_level(["<|endoftext|>"]))
    assert folder_of(folder / "tokenizer.json") == folder_of(folder) == folder
    (folder / "tokenizer.json").rename(folder / "tok.json")
    with pytest.raises(UserError, match=r"tok\.json is a file, but not called tokenizer\.json"):
        folder_of(folder / "tok.json")


def test_a_template_is_written_nowhere_else(tmp_path):
    _, files = made("qwen")
    for name in ("../out", "/tmp/x", "", ".hidden", "a/b"):
        with pytest.raises(UserError, match="is none of a file"):
            write(tmp_path, replace(files, template_files={name: "x"}))
    assert {path.name for path in tmp_path.iterdir()} == {
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
    }


def test_flags_of_an_added_token_outlive_the_eyes_of_training():
    tokenizer = byte_level([])
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, lstrip=True, normalized=False)])
    (token,) = for_raw_text(tokenizer).get_added_tokens_decoder().values()
    assert token.lstrip
