"""Sources and filters of a plugin's own, and what tells prepared texts apart."""

import importlib.util
import json
import sys
import weakref
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tokenizers
from data_samples import sentences, write_jsonl

from lmkit.data.corpus import Document, Files, Filter, InvalidText, Item, Length, Rejected, Source, StandardLibrary
from lmkit.data.corpus.identity import identity
from lmkit.data.corpus.reading import read
from lmkit.data.corpus.sources import source_of
from lmkit.data.prepare import Preparation, prepare
from lmkit.data.store import TokenStore
from lmkit.data.text import Text
from lmkit.errors import UserError


class Sentences(Source):
    """Made texts."""

    def __init__(self, count: int, seeds: tuple[int, ...] = (0,)) -> None:
        self.count, self.seeds = count, seeds

    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        for seed in self.seeds:
            yield from (Document(f"{seed}.{n}", text) for n, text in enumerate(sentences(self.count, seed)))

    def listing(self) -> list[Item]:
        return [Item("sentences", 50 * self.count, "first release")]


class Without(Filter):
    """Rejects documents with one of some words."""

    def __init__(self, words: set[str], inner: Filter | None = None) -> None:
        self.words, self.inner = words, inner

    def __call__(self, document: Document) -> Document | Rejected:
        found = sorted(word for word in self.words if word in document.text)
        return Rejected(found[0]) if found else document


class Shouted(Files):
    """Files in capitals."""

    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        yield from (document._replace(text=document.text.upper()) for document in super().documents(invalid))


class Reversed(StandardLibrary):
    """The other way round."""

    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        yield from reversed(list(super().documents(invalid)))


def wanted(source: Source, filters: tuple[Filter, ...] = (), **others: Any) -> Preparation:
    settings = {"validation_source": None, "validation_fraction": 0.2, "tokenizer": None, "vocab_size": 300}
    return Preparation(source, **(settings | others), filters=filters)


def test_a_text_means_files_or_the_standard_library(tmp_path: Path) -> None:
    assert isinstance(source_of("stdlib"), StandardLibrary)
    files = source_of("./stdlib")
    assert isinstance(files, Files)
    assert files.path == str(files) == "./stdlib"
    assert source_of(files) is files
    assert isinstance(Text().source, StandardLibrary)
    assert isinstance(Text("my/").source, Files)


def test_keys_without_filters_are_those_that_caches_have(corpus: Path) -> None:
    stats = [(path.name, path.stat()) for path in sorted(corpus.iterdir())]
    listing = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
    key = json.dumps([1, tokenizers.__version__, listing, 0.2, 300])
    folder = wanted(Files(str(corpus))).folder()
    assert folder.name == f"text-{blake2b(key.encode(), digest_size=16).hexdigest()}"


def test_classes_options_and_order_of_parts_make_other_caches(corpus: Path) -> None:
    files = Files(str(corpus))
    different = [
        wanted(files),
        wanted(files, (Length(3),)),
        wanted(files, (Length(4),)),
        wanted(files, (Length(3, 10**6),)),
        wanted(files, (Length(3), Length(4))),
        wanted(files, (Length(4), Length(3))),
        wanted(files, (Without({"a", "b"}),)),
        wanted(files, (Without({"a", "c"}),)),
        wanted(files, (Without({"a", "b"}, Length(1)),)),
        wanted(files, (Without({"a", "b"}, Length(2)),)),
        wanted(Shouted(str(corpus))),
        wanted(StandardLibrary()),
        wanted(Reversed()),
        wanted(Sentences(50)),
        wanted(Sentences(51)),
        wanted(Sentences(50, (0, 1))),
        wanted(files, validation_source=Sentences(50)),
    ]
    assert len({each.folder() for each in different}) == len(different)
    assert wanted(files, (Without({"b", "a"}),)).folder() == wanted(files, (Without({"a", "b"}),)).folder()
    assert wanted(Sentences(50)).folder() == wanted(Sentences(50)).folder()


MODULE = """
from lmkit.data.corpus import Filter

class Base(Filter):
    def __call__(self, document):
        return document
"""


def module(path: Path, text: str) -> ModuleType:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(f"lmkit_plugins.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_other_code_of_a_plugin_makes_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for base, text in [(MODULE, "x"), (MODULE + "\n", "x"), (MODULE, "y"), (MODULE, "x")]:
        monkeypatch.setitem(sys.modules, "base_of_it", made := module(tmp_path / "base_of_it.py", base))
        monkeypatch.setitem(sys.modules, "lmkit_plugins.base_of_it", made)
        derived = f"from base_of_it import Base\n\nclass Derived(Base):\n    text = {text!r}\n"
        monkeypatch.setitem(sys.modules, "lmkit_plugins.derived", made := module(tmp_path / "derived.py", derived))
        folders.append(wanted(Sentences(9), (made.Derived(),)).folder())
    assert len(set(folders)) == 3  # each of the two files counts
    assert folders[0] == folders[3]


def test_an_option_that_is_not_kept_is_told() -> None:
    class Forgetful(Filter):
        def __init__(self, words: int) -> None:
            self.limit = words

        def __call__(self, document: Document) -> Document | Rejected:
            return document

    with pytest.raises(UserError, match=r"Forgetful does not keep its option words.*: set self\.words in its"):
        wanted(Sentences(9), (Forgetful(3),)).folder()


@pytest.mark.parametrize("value", [object(), Path.exists, InvalidText.decode, 3j, b"x"])
def test_an_option_without_a_fixed_text_is_told(value: Any) -> None:
    with pytest.raises(UserError, match=r"Without\.inner is a \w+, which has no fixed text"):
        identity(Without(set(), value))


def test_code_that_is_in_no_file_is_told() -> None:
    space: dict[str, Any] = {"__name__": "typed_in"}
    exec(MODULE, space)
    with pytest.raises(UserError, match="Base is defined in no file"):
        identity(space["Base"]())


def test_filters_come_before_tokenizer_and_split_and_are_counted(tmp_path: Path) -> None:
    texts = sentences(80, 0) + sentences(80, 1)
    kept = [text for text in texts if "cat" not in text]
    source = Sentences(80, (0, 1))
    direct = prepare(wanted(Files(str(write_jsonl(tmp_path / "kept.jsonl", kept)))))
    folder = prepare(wanted(source, (Without({"cat"}),)))
    assert folder != direct
    for name in ("tokenizer.json", "train/tokens-00000.bin", "validation/tokens-00000.bin"):
        assert (folder / name).read_bytes() == (direct / name).read_bytes()
    (tally,) = TokenStore(folder / "train").filters
    assert tally.given.documents == 160
    assert tally.removed["cat"].documents == 160 - len(kept) == 160 - tally.kept.documents
    assert tally.kept.bytes == sum(len(text.encode()) for text in kept)
    assert TokenStore(folder / "validation").filters == []
    assert TokenStore(direct / "train").filters == []


def test_what_filters_did_is_told_each_time(caplog: pytest.LogCaptureFixture) -> None:
    for state in ("prepared", "cached"):
        caplog.clear()
        with caplog.at_level("INFO"):
            prepare(wanted(Sentences(80), (Without({"cat"}), Length(0))))
        lines = [record.getMessage() for record in caplog.records]
        assert 'data "Sentences"' in lines[0]
        assert f"{state} in" in lines[0]
        assert lines[1].startswith("  Without removed ")
        assert lines[1].endswith(" for cat")
        assert lines[2].startswith("  Length removed 0 of ")


def test_a_validation_source_is_left_as_it_is(corpus: Path) -> None:
    folder = prepare(wanted(Files(str(corpus)), (Without({"cat"}),), validation_source=Sentences(30)))
    assert TokenStore(folder / "validation").documents == 30
    assert TokenStore(folder / "train").documents < 120


def test_a_store_from_before_there_were_filters_opens(store: TokenStore) -> None:
    meta = json.loads((store.folder / "meta.json").read_text())
    del meta["filters"]
    (store.folder / "meta.json").write_text(json.dumps(meta))
    assert TokenStore(store.folder).filters == []


def test_filters_that_leave_nothing_leave_no_folder(cache: Path) -> None:
    with pytest.raises(UserError, match=r"leave no document of the source .*: Length removed 9 of 9"):
        prepare(wanted(Sentences(9), (Length(10**6),)))
    assert not cache.exists()


class Held(str):
    """A text that can be watched; the class of `str` itself cannot."""


class Watched(Sentences):
    """Counts how many of its texts there are at once."""

    most = 0

    def documents(self, invalid: InvalidText) -> Iterator[Document]:
        alive: set[int] = set()
        for number in range(50):
            text = Held(f"text {number}")
            weakref.finalize(text, alive.discard, number)
            alive.add(number)
            self.most = max(self.most, len(alive))
            yield Document(str(number), text)
            del text


def test_documents_are_never_held_together() -> None:
    source = Watched(1)
    assert sum(1 for _ in read(source, (Length(1), Without({"y"})))) == 50
    assert source.most == 2  # the one that was read last, until the next is there
    source.most = 0
    assert len(list(read(source, (Length(1),)))) == source.most == 50
