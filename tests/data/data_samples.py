"""Small corpora and stores for the tests of this folder."""

import json
import random
from pathlib import Path

from tokenizers import Tokenizer

from lmkit.data.corpus.document import InvalidText
from lmkit.data.store import StoreWriter, TokenStore


def sentences(count: int, seed: int = 0) -> list[str]:
    """Different small documents out of few words."""
    chance = random.Random(seed)
    words = ["the", "a cat", "dog sat", "on", "under mat", "then\n", "was", "café", "日本", "🙂", "12", "345"]
    return [f"{seed}.{n} " + " ".join(chance.choices(words, k=chance.randint(3, 40))) for n in range(count)]


def write_jsonl(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def write_store(folder: Path, texts: list[str], tokenizer: Tokenizer, shard_tokens: int = 2**27) -> TokenStore:
    writer = StoreWriter(folder, tokenizer, shard_tokens)
    for text in texts:
        writer.add(text)
    writer.finish(InvalidText())
    return TokenStore(folder)


def expected_tokens(texts: list[str], tokenizer: Tokenizer) -> list[int]:
    """The slow obvious layout of a store."""
    return [0] + [token for text in texts for token in [*tokenizer.encode(text).ids, 0]]
