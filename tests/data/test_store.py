import errno
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_samples import expected_tokens, write_store
from tokenizers import Tokenizer

from lmkit.data.store import TokenStore
from lmkit.data.whole_folder import whole_folder
from lmkit.errors import UserError


@pytest.mark.parametrize("shard_tokens", [1, 7, 100, 2**27])
def test_reads_across_shards(tmp_path: Path, texts: list[str], tokenizer: Tokenizer, shard_tokens: int) -> None:
    texts = texts[:8]
    store = write_store(tmp_path / "s", texts, tokenizer, shard_tokens)
    want = expected_tokens(texts, tokenizer)
    assert len(store) == len(want)
    assert len(list((tmp_path / "s").glob("*.bin"))) == -(-len(want) // shard_tokens)
    for start, stop in [(0, len(want)), (0, 0), (5, 6), (6, 8), (3, 30), (len(want) - 1, len(want))]:
        read = store.read(start, stop)
        assert read.dtype == np.int64
        assert read.tolist() == want[start:stop]
    for start, stop in [(-1, 2), (0, len(want) + 1), (3, 2)]:
        with pytest.raises(IndexError):
            store.read(start, stop)


def test_describes_itself(tmp_path: Path, store: TokenStore, texts: list[str], tokenizer: Tokenizer) -> None:
    assert (store.documents, store.bytes) == (len(texts), len("".join(texts).encode()))
    assert store.end_of_document == 0
    assert store.read(0, 1).tolist() == [0]
    meta = json.loads((store.folder / "meta.json").read_text())
    assert meta["dtype"] == "<u2"
    assert meta["tokens"] == len(store)
    assert write_store(tmp_path / "2", texts, tokenizer, 11).fingerprint == store.fingerprint
    assert write_store(tmp_path / "3", texts[:-1], tokenizer).fingerprint != store.fingerprint
    assert write_store(tmp_path / "4", [*texts[:-1], "other"], tokenizer).fingerprint != store.fingerprint


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path, tokenizer: Tokenizer) -> None:
    large = Tokenizer.from_str(tokenizer.to_str())
    large.add_tokens([f"word{n}" for n in range(2**16)])
    store = write_store(tmp_path / "s", ["the word65535"], large)
    assert json.loads((tmp_path / "s" / "meta.json").read_text())["dtype"] == "<u4"
    assert store.read(0, len(store)).max() == 300 + 65535


def test_pickles_without_its_tokens(store: TokenStore) -> None:
    whole = store.read(0, len(store))
    data = pickle.dumps(store)
    assert len(data) < 2000
    assert np.array_equal(pickle.loads(data).read(0, len(store)), whole)


def test_refuses_what_is_damaged(store: TokenStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no token store"):
        TokenStore(tmp_path / "none")
    shard = next(store.folder.glob("*.bin"))
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(UserError, match="delete it to make it anew"):
        TokenStore(store.folder)
    shard.unlink()
    with pytest.raises(UserError, match="prepare the data again"):
        TokenStore(store.folder)


WRITE = """
import sys; sys.path[:0] = {path!r}
import pathlib, resource, tracemalloc
from tokenizers import Tokenizer
from lmkit.data.store import StoreWriter
from lmkit.data.corpus.document import InvalidText
tracemalloc.start()
writer = StoreWriter(pathlib.Path({folder!r}), Tokenizer.from_file({tokenizer!r}))
for n in range({documents}):
    writer.add("a cat and a dog %d " % n * 400)
writer.finish(InvalidText())
print(tracemalloc.get_traced_memory()[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def writing_peaks(tmp_path: Path, documents: int) -> tuple[int, int]:
    """The most bytes that Python and numpy held, and that the process held, the tokenizer's own included."""
    folder, tokenizer = str(tmp_path / f"{documents}"), str(tmp_path / "tokenizer.json")
    code = WRITE.format(path=sys.path, folder=folder, tokenizer=tokenizer, documents=documents)
    python, process = subprocess.check_output([sys.executable, "-c", code]).split()
    return int(python), int(process)


@pytest.mark.slow
def test_writing_streams(tmp_path: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    small, large = writing_peaks(tmp_path, 200), writing_peaks(tmp_path, 1000)
    tokens = len(TokenStore(tmp_path / "1000")) - len(TokenStore(tmp_path / "200"))
    assert large[0] - small[0] < tokens / 2  # kept as they are written, they would take two bytes each
    assert large[1] - small[1] < tokens * 8  # which the process would exceed if the tokenizer kept its own


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "x") as part:
        (part / "half").write_text("written")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "new" / "newer" / "x"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "x") as part:
        (part / "it").write_text("first")
        assert not (tmp_path / "x").exists()
        with whole_folder(tmp_path / "x") as second:
            (second / "it").write_text("second")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x" / "it").read_text() == "second"


def test_no_space_left(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.open

    def onto_full_device(path: Path, *args: str) -> object:
        full = path.name == "tokens-00001.bin"
        return plain(Path("/dev/full") if full else path, *args)

    monkeypatch.setattr(Path, "open", onto_full_device)
    with (
        pytest.raises(UserError, match=r"no space left in .* after 200 bytes: free some"),
        whole_folder(tmp_path / "x") as p,
    ):
        write_store(p / "train", ["the cat " * 500], tokenizer, shard_tokens=100)
    assert list(tmp_path.iterdir()) == []


def test_other_disk_errors_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(OSError) as error, whole_folder(tmp_path / "x"):
        raise OSError(errno.EIO, "broken disk")
    assert error.value.errno == errno.EIO
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make a folder"), whole_folder(tmp_path / "file" / "x"):
        pass
