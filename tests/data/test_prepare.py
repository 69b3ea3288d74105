import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
from data_samples import sentences, write_jsonl
from tokenizers import Tokenizer

from lmkit.data import prepare as preparing
from lmkit.data import tokenizer as tokenizing
from lmkit.data.corpus import Files, StandardLibrary
from lmkit.data.prepare import Preparation, prepare
from lmkit.data.split import is_validation
from lmkit.data.store import TokenStore
from lmkit.errors import UserError


@pytest.fixture
def wanted(corpus: Path) -> Preparation:
    return Preparation(Files(str(corpus)), None, 0.2, None, 300)


def all_texts() -> list[str]:
    return [text for seed in range(2) for text in sentences(60, seed)]


def decoded(store: TokenStore, tokenizer: Tokenizer) -> list[str]:
    documents: list[list[int]] = []
    for token in store.read(0, len(store)).tolist():
        if token == store.end_of_document:
            documents.append([])
        else:
            documents[-1].append(token)
    assert documents.pop() == []
    return [tokenizer.decode(ids) for ids in documents]


def test_both_stores_hold_their_documents(wanted: Preparation) -> None:
    folder = prepare(wanted)
    tokenizer = tokenizing.load(folder / "tokenizer.json")
    train = [text for text in all_texts() if not is_validation(text, 0.2)]
    validation = [text for text in all_texts() if is_validation(text, 0.2)]
    assert decoded(TokenStore(folder / "train"), tokenizer) == train
    assert decoded(TokenStore(folder / "validation"), tokenizer) == validation
    assert 10 < len(validation) < 40
    assert (
        tokenizer.to_str()
        == tokenizing.train(iter(train), 300).to_str()
        != tokenizing.train(iter(all_texts()), 300).to_str()
    )


def test_a_copy_never_straddles_the_split(tmp_path: Path, wanted: Preparation) -> None:
    write_jsonl(Path(str(wanted.source)) / "copy.jsonl", all_texts())
    folder = prepare(wanted)
    tokenizer = tokenizing.load(folder / "tokenizer.json")
    train, validation = (decoded(TokenStore(folder / name), tokenizer) for name in ("train", "validation"))
    assert len(train) + len(validation) == 240
    assert not set(train) & set(validation)


def test_a_validation_source(tmp_path: Path, wanted: Preparation) -> None:
    other = write_jsonl(tmp_path / "other.jsonl", ["the cat", "a dog"])
    folder = prepare(replace(wanted, validation_source=Files(str(other)), validation_fraction=7))
    tokenizer = tokenizing.load(folder / "tokenizer.json")
    assert decoded(TokenStore(folder / "train"), tokenizer) == all_texts()
    assert decoded(TokenStore(folder / "validation"), tokenizer) == ["the cat", "a dog"]


def test_a_given_tokenizer(tmp_path: Path, wanted: Preparation, tokenizer: Tokenizer) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    folder = prepare(replace(wanted, tokenizer=str(tmp_path / "tokenizer.json")))
    assert json.loads((folder / "tokenizer.json").read_text()) == json.loads(tokenizer.to_str())


def test_the_tokenizer_sees_a_sample_of_what_is_too_large(wanted: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(preparing._sample(wanted))) == sum(not is_validation(text, 0.2) for text in all_texts())
    monkeypatch.setattr(preparing, "TOKENIZER_BYTES", 4000)
    assert 10 < len(list(preparing._sample(wanted))) < 70


def test_the_cache_is_used_until_something_changes(
    tmp_path: Path, wanted: Preparation, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare(wanted)
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert prepare(wanted) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == made
    file = Path(str(wanted.source)) / "part0.jsonl"
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    others = [
        replace(wanted, validation_fraction=0.3).folder(),
        replace(wanted, vocab_size=301).folder(),
        replace(wanted, tokenizer=str(tmp_path / "tokenizer.json")).folder(),
        replace(wanted, validation_source=Files(str(file))).folder(),
        replace(wanted, source=StandardLibrary()).folder(),
    ]
    os.utime(file, ns=(1, 1))
    others.append(wanted.folder())
    file.rename(file.with_name("renamed.jsonl"))
    others.append(wanted.folder())
    monkeypatch.setattr(preparing, "FORMAT", -1)
    others.append(wanted.folder())
    assert len({folder, *others}) == len(others) + 1


def test_where_the_cache_is(wanted: Preparation, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    assert wanted.folder().parent == cache
    monkeypatch.delenv("LMKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert wanted.folder().parent == Path("/x/lmkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert wanted.folder().parent == Path("/h/.cache/lmkit")


def test_invalid_text_is_told_each_time(wanted: Preparation) -> None:
    (Path(str(wanted.source)) / "z.txt").write_bytes(b"a \xff b \xfe")
    for _ in range(2):
        with pytest.warns(UserWarning, match="2 byte sequences in 1 documents are not UTF-8") as told:
            prepare(wanted)
        assert len(told) == 1


@pytest.mark.parametrize(("texts", "fraction"), [(["only one document"], 0.01), (["only one document"], 0.99)])
def test_refuses_an_empty_side(tmp_path: Path, cache: Path, texts: list[str], fraction: float) -> None:
    source = write_jsonl(tmp_path / "few.jsonl", texts)
    remedy = "a larger" if fraction < 0.5 else "a smaller"
    with pytest.raises(UserError, match=f"{remedy} --data.validation_fraction, or a --data.validation_source"):
        prepare(Preparation(Files(str(source)), None, fraction, None, 300))
    assert not cache.exists()


@pytest.mark.parametrize("fraction", [-0.1, 0.0, 1.0, 5.0])
def test_refuses_a_fraction_that_is_none(wanted: Preparation, fraction: float) -> None:
    with pytest.raises(UserError, match="needs to be between 0 and 1"):
        prepare(replace(wanted, validation_fraction=fraction))


def test_a_damaged_file_leaves_nothing_behind(wanted: Preparation, cache: Path) -> None:
    (Path(str(wanted.source)) / "z.jsonl").write_text("nonsense")
    with pytest.raises(UserError, match=r"z\.jsonl, line 1"):
        prepare(wanted)
    assert not cache.exists()


def test_two_at_once(wanted: Preparation, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, both = preparing._build, Barrier(2)

    def together(wanted: Preparation, folder: Path) -> None:
        both.wait(timeout=20)  # nobody finishes before both have begun
        build(wanted, folder)

    monkeypatch.setattr(preparing, "_build", together)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(prepare, [wanted, wanted]))
    assert folders == [wanted.folder()] * 2
    assert list(cache.iterdir()) == folders[:1]


def test_the_slower_of_two_uses_the_winners(wanted: Preparation, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = preparing._build

    def overtaken(wanted: Preparation, folder: Path) -> None:
        monkeypatch.setattr(preparing, "_build", build)
        prepare(wanted)
        (wanted.folder() / "winner").touch()
        build(wanted, folder)

    monkeypatch.setattr(preparing, "_build", overtaken)
    assert (prepare(wanted) / "winner").exists()
    assert list(cache.iterdir()) == [wanted.folder()]


def test_an_end_that_only_the_tokenizers_folder_names_ends_documents(tmp_path: Path, corpus: Path) -> None:
    made = tokenizing.train(iter(all_texts()), 300)
    made.add_special_tokens(["<|over|>", "<|stop|>"])
    text = made.to_str().replace("<|endoftext|>", "<|first|>")
    for name in ("<|over|>", "<|stop|>"):
        own = tmp_path / name.strip("<|>")
        own.mkdir()
        (own / "tokenizer.json").write_text(text)
        (own / "tokenizer_config.json").write_text(json.dumps({"eos_token": name}))
        folder = prepare(Preparation(Files(str(corpus)), None, 0.2, str(own), 300))
        loaded, end = tokenizing.load_with_end(folder)
        store = TokenStore(folder / "train")
        assert loaded.id_to_token(end) == name
        assert store.end_of_document == end
        assert store.documents == (store.read(0, len(store)) == end).sum() - 1 > 10
    with pytest.raises(UserError, match="no end-of-document token"):
        (own / "tokenizer_config.json").unlink()
        prepare(Preparation(Files(str(corpus)), None, 0.2, str(own), 300))
