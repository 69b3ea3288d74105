from pathlib import Path

import pytest
from data_samples import sentences, write_jsonl, write_store
from tokenizers import Tokenizer

from lmkit.data import tokenizer as tokenizing
from lmkit.data.store import TokenStore


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return tokenizing.train(iter(sentences(200)), 300)


@pytest.fixture
def texts() -> list[str]:
    return sentences(60)


@pytest.fixture
def store(tmp_path: Path, texts: list[str], tokenizer: Tokenizer) -> TokenStore:
    return write_store(tmp_path / "store", texts, tokenizer)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of 120 small documents in two files, enough for both sides of the split."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for part in range(2):
        write_jsonl(folder / f"part{part}.jsonl", sentences(60, seed=part))
    return folder
