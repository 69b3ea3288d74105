import gzip
import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from lmkit.data.corpus import Files, StandardLibrary
from lmkit.data.corpus.chunks import lines
from lmkit.data.corpus.document import InvalidText
from lmkit.data.corpus.readers import BOOK_BYTES, PIECE_BYTES
from lmkit.data.corpus.reading import read
from lmkit.data.corpus.sources import source_of
from lmkit.errors import UserError

PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packing", PACK)
@pytest.mark.parametrize("kind", [".txt", ".md", ".py", ".jsonl"])
def test_every_ending_gives_the_exact_text(tmp_path: Path, kind: str, packing: str) -> None:
    text = "\ufeffa\r\nb\rc\n\n日本 <|endoftext|>\x00\x1f\u2028 \n"
    data = (json.dumps({"text": text}) if kind == ".jsonl" else text).encode()
    path = tmp_path / f"it{kind}{packing}"
    path.write_bytes(PACK[packing](data))
    assert [document.text for document in read(Files(str(path)))] == [text]


def test_folders_globs_and_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.md", "a/b/c.py", "a.txt", "picture.png", "UPPER.TXT"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    assert [d.text for d in read(Files(str(tmp_path)))] == ["UPPER.TXT", "a.txt", "a/b/c.py", "a/z.md", "b.txt"]
    assert [d.name for d in read(Files(str(tmp_path)))] == ["UPPER.TXT", "a.txt", "a/b/c.py", "a/z.md", "b.txt"]
    assert [d.text for d in read(Files(f"{tmp_path}/*.txt"))] == ["a.txt", "b.txt"]
    assert [d.text for d in read(Files(f"{tmp_path}/**/*"))] == ["UPPER.TXT", "a.txt", "a/b/c.py", "a/z.md", "b.txt"]


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    assert [d.text for d in read(Files("~/a.txt"))] == ["x"]


def book(kind: str) -> bytes:
    chance = random.Random(1)
    words = ["word", "日本語", "é", "🙂"]
    if kind == "lines":
        return "\r\n".join(" ".join(chance.choices(words, k=9)) for _ in range(20000)).encode()
    if kind == "paragraphs":
        return "\n\n".join("\n".join(["a line of it"] * chance.randint(1, 60)) for _ in range(1500)).encode()
    if kind == "far blank lines":
        return (("word " * 500 + "\n\n" + "line\n" * 9000) * 6).encode()
    if kind == "one word":
        return "".join(chance.choices(words, k=100000)).encode()
    return chance.randbytes(BOOK_BYTES * 2)


@pytest.mark.parametrize("kind", ["lines", "paragraphs", "far blank lines", "one word", "noise"])
@pytest.mark.parametrize("packing", PACK)
def test_a_book_is_cut_into_pieces_that_are_its_text(tmp_path: Path, kind: str, packing: str) -> None:
    data = book(kind)
    path = tmp_path / f"book.txt{packing}"
    path.write_bytes(PACK[packing](data))
    pieces = list(read(Files(str(path))))
    assert [piece.name for piece in pieces[:2]] == ["book.txt" + packing + "#0", "book.txt" + packing + "#1"]
    sizes = [len(piece.text.encode()) for piece in pieces[:-1]]
    if kind != "noise":
        assert "".join(piece.text for piece in pieces).encode() == data
        assert min(sizes) >= PIECE_BYTES // 2 - 3
        assert max(sizes) <= PIECE_BYTES
    else:  # nearly every byte is invalid, and the text is the same wherever it is cut between lines
        assert "".join(piece.text for piece in pieces) == data.decode(errors="replace")
    if kind == "paragraphs":
        assert all(piece.text.endswith("\n\n") for piece in pieces[:-1])
    if kind == "lines":
        assert all(piece.text.endswith("\r\n") for piece in pieces[:-1])


def test_what_is_no_book_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n" * BOOK_BYTES)
    (tmp_path / "b.txt").write_text("x" * BOOK_BYTES)
    assert [d.name for d in read(Files(str(tmp_path)))] == ["a.py", "b.txt"]


def test_invalid_utf8_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"good \xff bad \xe6\x97 cut, and \xef\xbf\xbd written")
    (tmp_path / "b.txt").write_bytes("fine \ufffd".encode())
    (tmp_path / "c.jsonl").write_bytes(rb'{"text": "half \ud83d character"}' + b'\n{"text": "whole \\ud83d\\ude42"}')
    invalid = InvalidText()
    documents = {d.name: d.text for d in read(Files(str(tmp_path)), invalid=invalid)}
    assert documents == {
        "a.txt": "good \ufffd bad \ufffd cut, and \ufffd written",
        "b.txt": "fine \ufffd",
        "c.jsonl:1": "half \ufffd character",
        "c.jsonl:2": "whole 🙂",
    }
    assert (invalid.documents, invalid.sequences) == (2, 3)


def test_empty_documents_are_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "b.jsonl").write_text('{"text": ""}\n\n  \n{"text": "x", "id": 1}')
    assert [tuple(d) for d in read(Files(str(tmp_path)))] == [("b.jsonl:4", "x")]


def test_lines_join_over_chunks() -> None:
    data = b"ab\n\ncd\r\nefg\n\n\nh"
    for size in range(1, len(data) + 1):
        parts = (data[start : start + size] for start in range(0, len(data), size))
        assert list(lines(parts)) == data.splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", b'{"text": "x"}\nnonsense\n', "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b'{"body": "x"}\n', 'a.jsonl, line 1 needs a string under "text", came: keys body'),
        ("a.jsonl", b'["text"]\n', "came: list"),
        ("a.jsonl", b'{"text": 3}\n', "line 1 needs a string"),
        ("a.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("a.txt.gz", b"not gzip", "cannot read .*a.txt.gz"),
        ("a.txt.gz", gzip.compress(random.Random(0).randbytes(9999))[:5000], "cannot read .*a.txt.gz"),
        ("a.txt.zst", b"not zstandard", "cannot read .*a.txt.zst"),
        ("a.txt.zst", PACK[".zst"](random.Random(0).randbytes(300_000))[:99_999], "ends inside a frame"),
        ("a.txt", b"", "every text of the source .* is empty"),
        ("a.pdf", b"x", "no readable file: files ending in .txt, .md, .py, .jsonl are read"),
        ("a.zst", b"x", "no readable file"),
    ],
)
def test_errors(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(UserError, match=said) as error:
            list(read(Files(str(source))))
        assert "\n" not in str(error.value)


def test_missing_source(tmp_path: Path) -> None:
    for source in (tmp_path / "none", tmp_path / "*.txt"):
        with pytest.raises(UserError, match="no file, folder or glob matches"):
            list(read(Files(str(source))))
    with pytest.raises(UserError, match="no readable file"):
        list(read(Files(str(tmp_path))))


def test_several_zst_frames(tmp_path: Path) -> None:
    (tmp_path / "a.txt.zst").write_bytes(PACK[".zst"](b"one ") + PACK[".zst"](b"two"))
    assert [d.text for d in read(Files(str(tmp_path)))] == ["one two"]


def reading_peak(path: Path) -> int:
    tracemalloc.start()
    for _ in read(Files(str(path))):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("name", ["big.txt", "big.jsonl", "big.txt.gz", "big.jsonl.zst"])
def test_reading_streams(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    pack = PACK[path.suffix if path.suffix in PACK else ""]
    chance = random.Random(0)
    records = [b'{"text": "%s"}\n' % chance.randbytes(200).hex().encode() for _ in range(25_000)]
    path.write_bytes(pack(b"".join(records[:2500])))
    reading_peak(path)  # warms up what Python keeps
    small = reading_peak(path)
    path.write_bytes(pack(b"".join(records)))
    assert reading_peak(path) < small * 1.3 + 2**19


def test_a_folder_named_as_the_embedded_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stdlib").mkdir()
    (tmp_path / "stdlib" / "a.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert [d.text for d in read(source_of("./stdlib"))] == ["mine"]
    assert next(read(StandardLibrary())).text != "mine"
