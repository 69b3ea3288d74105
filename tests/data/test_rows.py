"""Rows out of files of each kind, out of data sets, and what is told where they cannot be read."""

import gzip
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from lmkit.data.rows import HubRows, Row, RowFiles, RowSource, row_source_of
from lmkit.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"prompt": "Größe, 日本語 🙂?", "completion": "Ja.\nNein.", "score": 0.5},
    {"prompt": "Who?", "completion": "Nobody.", "score": None},
    {"prompt": "", "completion": "I", "score": 1},
]
CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}
TALKS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]},
    {"messages": [{"role": "user", "content": "Rome?"}, {"role": "assistant", "tool_calls": [CALL]}]},
]


def lines(rows: list[dict[str, Any]] = ROWS) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def values(source: RowSource) -> list[dict[str, Any]]:
    return [row.values for row in source.rows()]


CONTENTS = {
    "a.jsonl": lines(),
    "ascii.jsonl": b"".join(json.dumps(row).encode() + b"\r\n" for row in ROWS),
    "marked.jsonl": b"\xef\xbb\xbf" + lines().rstrip(),
    "a.jsonl.gz": gzip.compress(lines()),
    "A.JSONL.ZST": zstandard.compress(lines()),
    "list.json": json.dumps(ROWS, indent=2).encode(),
    "object.json": json.dumps({"version": 1, "data": ROWS}).encode(),
    "lines.json": lines(),
    "list.json.gz": gzip.compress(json.dumps(ROWS).encode()),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_rows_of_each_kind_of_file_are_the_same(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CONTENTS[name])
    source = RowFiles(str(tmp_path / name))
    assert [*source.rows()] == [Row(row, f"{name}, row {number}") for number, row in enumerate(ROWS, 1)]
    assert [*source.rows()] == [*source.rows()]


@pytest.mark.parametrize("rows", [ROWS, TALKS, TALKS * 2000])
def test_parquet_gives_back_what_was_written(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = [*RowFiles(str(tmp_path)).rows()]
    assert [row.values for row in found] == rows  # without the keys of null that columns give to messages of fewer keys
    assert found[-1].where == f"a.parquet, row {len(rows)}"


def test_a_folder_and_a_glob_are_read_sorted_by_name(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/z.json", "c.txt", "README.md", "a/b.jsonl.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = json.dumps([{"name": name}] if name.endswith("json") else {"name": name}).encode()
        (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    assert [row["name"] for row in values(RowFiles(str(tmp_path)))] == ["a/b.jsonl.gz", "a/z.json", "b.jsonl"]
    assert next(RowFiles(str(tmp_path)).rows()).where == "a/b.jsonl.gz, row 1"
    assert [row["name"] for row in values(RowFiles(f"{tmp_path}/*"))] == ["b.jsonl"]
    assert [row["name"] for row in values(RowFiles(f"{tmp_path}/**/*.json*"))] == [
        "a/b.jsonl.gz",
        "a/z.json",
        "b.jsonl",
    ]


def test_a_line_that_is_broken_is_a_fault_of_its_own_row(tmp_path: Path) -> None:
    broken = [b'{"a": 1', b"3", b'{"a": "\\ud83d"}', b'{"a": "\xfc"}', b"", b'{"a": "\\ud83d\\ude42"}', b"[" * 10**5]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*broken, b'{"b": 2}']))
    found = [*RowFiles(str(tmp_path)).rows()]
    assert [row.where for row in found] == [f"a.jsonl, row {number}" for number in (1, 2, 3, 4, 6, 7, 8)]
    said = [
        "not JSON (Expecting ',' delimiter at character 8)",
        "of type int, no object",
        "half a char",
        "no UTF-8 at byte 8",
    ]
    for row, part in zip(found, said, strict=False):
        assert row.values == {}
        assert part in str(row.fault)
    assert "JSON" in str(found[5].fault)
    assert [row.values for row in found if row.fault is None] == [{"a": "🙂"}, {"b": 2}]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'[{"a": 1}, {"a"]', "a.json is not JSON (Expecting ':' delimiter at character 16): mend or remove"),
        ("a.json", b'[\n"\xfc"]', "a.json is not JSON (no UTF-8 at byte 4)"),
        ("a.json", b'{"a": 1}{"a": 2}', "a.json is not JSON (Extra data at character 9)"),
        ("a.json", b'{"a": [1], "b": [2]}', "a.json holds an object with lists under a, b: a list of objects, or an"),
        ("a.json", b'{"a": 1}', "a.json holds an object with no list"),
        ("a.json", b"3", "a.json holds JSON of type int: a list of objects"),
        ("a.jsonl.gz", b"no gzip", "a.jsonl.gz: Not a gzipped file"),
        (
            "a.txt",
            b"text",
            "has no readable file: files ending in .jsonl, .json are read, each also with .gz or .zst, and",
        ),
        ("a.parquet.gz", b"", "and .parquet; rename or convert"),
        ("a.parquet", b"no parquet", "a.parquet (Parquet magic bytes not found"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_a_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        [*RowFiles(str(tmp_path / name)).rows()]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_objects_of_a_list_that_are_none_are_faults(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, 3, {"a": "\\ud83d"}]')
    one, two, three = RowFiles(str(tmp_path)).rows()
    assert one == Row({"a": 1}, "a.json, row 1")
    assert two.fault == "it is of type int, no object with keys: mend or remove it"
    assert "half a character" in str(three.fault)


def test_a_listing_is_another_one_once_a_file_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines())
    source = RowFiles(str(tmp_path))
    before = source.listing()
    assert [(item.name, item.bytes) for item in before] == [("a.jsonl", len(lines()))]
    assert source.key() == before == RowFiles(str(tmp_path / "a.jsonl")).key()
    (tmp_path / "a.jsonl").write_bytes(lines() * 2)
    assert source.listing() != before


class Made(RowSource):
    """What is made of the standard library, in place of it."""

    def rows(self):
        yield Row({"a": 1}, "made, row 1", "one")

    def listing(self):
        return []


def test_a_text_means_files_a_saved_data_set_or_the_standard_library(tmp_path: Path) -> None:
    assert isinstance(row_source_of("stdlib", Made), Made)
    files = row_source_of(Path("./stdlib"), Made)
    assert isinstance(files, RowFiles)
    assert str(row_source_of("./stdlib", Made)) == "./stdlib"
    assert row_source_of(files, Made) is files
    (tmp_path / "dataset_dict.json").write_text("{}")
    saved = row_source_of(str(tmp_path), Made)
    assert isinstance(saved, HubRows)
    assert (saved.name, saved.split) == (str(tmp_path), "train")
    with pytest.raises(UserError, match="the source is empty"):
        row_source_of("", Made)
    with pytest.raises(UserError, match=r'matches the source "org/none".*hub is named to HubRows'):
        [*row_source_of("org/none", Made).rows()]
    with pytest.raises(UserError, match=r"matches the source .*none.jsonl\"; give one that exists"):
        [*row_source_of(tmp_path / "none.jsonl", Made).rows()]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data sets on disk: one by itself, one of two splits, and one of plain files."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("saved")
    made = datasets.Dataset.from_list(TALKS)
    made.save_to_disk(str(folder / "one"))
    datasets.DatasetDict(train=made, test=made.select([1])).save_to_disk(str(folder / "two"))
    (folder / "files").mkdir()
    (folder / "files" / "train.jsonl").write_bytes(lines())
    return folder


def test_a_saved_data_set_gives_back_its_rows(saved: Path) -> None:
    one = HubRows(str(saved / "one"))
    assert values(one) == TALKS
    assert [row.where for row in one.rows()] == [f"{saved}/one (train), row {number}" for number in (1, 2)]
    assert values(HubRows(str(saved / "two"))) == TALKS
    test = HubRows(str(saved / "two"), "test")
    assert values(test) == TALKS[1:] == values(pickle.loads(pickle.dumps(test)))
    assert all(item.bytes > 0 for item in test.listing())
    assert len({json.dumps(source.key()) for source in (one, test, HubRows(str(saved / "two")))}) == 3


def test_a_folder_of_files_is_read_as_datasets_reads_it(saved: Path) -> None:
    source = HubRows(str(saved / "files"))
    assert values(source) == ROWS == values(RowFiles(str(saved / "files")))
    assert [item.name for item in source.listing()] == ["train.jsonl"]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("two", {"split": "dev"}, "two has no split dev: give train or test"),
        ("two", {"config": "en"}, "config is 'en', but the data set"),
        ("files", {"split": "dev"}, "(dev) could not be loaded (ValueError: Bad split: dev"),
        ("none", {}, "(train) could not be loaded ("),
    ],
)
def test_what_a_data_set_does_not_have_is_told(saved: Path, name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        [*HubRows(str(saved / name), **options).rows()]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_network_it_is_told_that_the_hub_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for ask in (lambda source: [*source.rows()], lambda source: source.listing()):
        with pytest.raises(UserError) as caught:
            ask(HubRows("some-org/some-data", "test"))
        assert str(caught.value).startswith("the data set some-org/some-data (test) could not be loaded (")
        assert str(caught.value).endswith("or the folder of a copy that save_to_disk wrote")


class Hub:
    """Stands for the hub: tells a commit or raises, and notes what it is asked."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer, self.asked, self.read = answer, 0, list[dict[str, Any]]()
        self.HfApi = lambda: self

    def dataset_info(self, name: str) -> "Hub":
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        self.sha = self.answer
        return self

    def load_dataset(self, **given: Any) -> list[dict[str, Any]]:
        self.read.append(given)
        return ROWS


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    for name in ("LOCAL_RANK", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    made = Hub("a" * 40)
    for name in ("datasets", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, name, made)
    return made


def test_the_commit_is_asked_for_once_and_is_what_is_read(hub: Hub) -> None:
    source = HubRows("org/data", config="en")
    key = source.key()
    hub.answer = "b" * 40
    assert values(source) == ROWS
    assert source.key() == key
    assert pickle.loads(pickle.dumps(source)).key() == key
    assert hub.asked == 1
    given = {"path": "org/data", "name": "en", "split": "train", "streaming": True, "revision": "a" * 40}
    assert hub.read == [given]
    assert HubRows("org/data", config="en").key() != key


def test_other_processes_of_a_machine_take_the_commit_of_the_first(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    key = HubRows("org/data").key()
    hub.answer = "b" * 40
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert HubRows("org/data").key() == key
    assert hub.asked == 1
    assert HubRows("org/other").key() != key  # which the first has not read


def test_without_the_hub_the_commit_that_was_read_last_is_taken(hub: Hub) -> None:
    hub.answer = ConnectionError("no route")
    with pytest.raises(UserError, match=r"data set org/data \(train\) could not be loaded \(ConnectionError: no route"):
        HubRows("org/data").key()
    hub.answer = "a" * 40
    key = HubRows("org/data").key()
    hub.answer = ConnectionError("no route")
    with pytest.warns(
        match=r"could not be asked for org/data \(ConnectionError: no route\): its commit aaaaaaaaaaaa is"
    ):
        assert HubRows("org/data").key() == key
    gone = ConnectionError("404")
    gone.response = type("Response", (), {"status_code": 404})()  # type: ignore[attr-defined]
    hub.answer = gone
    with pytest.raises(UserError, match="could not be loaded"):
        HubRows("org/data").key()


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [("datasets", "HubRows('x')", "datasets"), ("pyarrow", "RowFiles('a.parquet')", "parquet")],
)
@pytest.mark.slow
def test_an_extra_that_is_not_installed_is_named(tmp_path: Path, module: str, make: str, extra: str) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    code = f"""
import sys
sys.modules[{module!r}] = None
from lmkit.data.rows import HubRows, RowFiles
from lmkit.errors import UserError
try:
    next({make}.rows())
except UserError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"needs the package {module}: pip install 'lmkit[{extra}]'\n")
