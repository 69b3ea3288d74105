"""Token shards: a corpus as one long sequence of token ids in flat files, mapped into memory when read.

The sequence is one end-of-document token, then each document's tokens followed by that token. So every document is
preceded by it, is predicted from its very first token, and nothing needs masking.
"""

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lmkit.data.corpus.document import InvalidText
from lmkit.data.corpus.reading import Tally
from lmkit.data.tokenizer import end_of_document, vocab_size_used
from lmkit.errors import UserError

SHARD_TOKENS = 2**27
_META = "meta.json"
_BATCH_CHARACTERS = 1 << 20  # encoded at once: the encoder needs some hundred bytes a token while it works


class StoreWriter:
    """Writes documents to a store, in memory that does not grow with their number."""

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, shard_tokens: int = SHARD_TOKENS, end: int | None = None
    ) -> None:
        """Makes `folder`.

        Args:
            folder: its parent exists.
            tokenizer: to encode the documents with.
            shard_tokens: the size of the folder's files in tokens.
            end: the id of the token that ends a document; none: the known one.
        """
        folder.mkdir()
        self._folder, self._tokenizer, self._shard_tokens = folder, tokenizer, shard_tokens
        self._end = end_of_document(tokenizer) if end is None else end
        self._dtype = np.dtype("<u2" if vocab_size_used(tokenizer) <= 2**16 else "<u4")
        self._waiting: list[str] = []
        self._characters = 0
        self._hash = blake2b(digest_size=16)
        self.tokens = self.documents = self.bytes = 0
        self._append(np.array([self._end], self._dtype))

    def add(self, text: str) -> None:
        """Adds one document."""
        self._waiting.append(text)
        self._characters += len(text)
        if self._characters >= _BATCH_CHARACTERS:
            self._encode()

    def finish(self, invalid: InvalidText, filters: Sequence[Tally] = ()) -> None:
        """Writes what is left and the description.

        Args:
            invalid: counts what was not UTF-8 in the source.
            filters: what each filter has kept and removed of the source.
        """
        self._encode()
        meta = {
            "tokens": self.tokens,
            "documents": self.documents,
            "bytes": self.bytes,
            "dtype": self._dtype.str,
            "end_of_document": self._end,
            "shard_tokens": self._shard_tokens,
            "shards": [_shard_name(index) for index in range(-(-self.tokens // self._shard_tokens))],
            "fingerprint": self._hash.hexdigest(),
            "invalid_documents": invalid.documents,
            "invalid_sequences": invalid.sequences,
            "filters": [tally.plain() for tally in filters],
        }
        (self._folder / _META).write_text(json.dumps(meta, indent=1))

    def _encode(self) -> None:
        texts, self._waiting, self._characters = self._waiting, [], 0
        ids: list[int] = []
        for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            ids += encoding.ids
            ids.append(self._end)
        self.documents += len(texts)
        self.bytes += sum(len(text.encode()) for text in texts)
        self._append(np.array(ids, self._dtype))

    def _append(self, tokens: NDArray[Any]) -> None:
        self._hash.update(tokens.tobytes())
        while len(tokens):
            shard, used = divmod(self.tokens, self._shard_tokens)
            now, tokens = np.split(tokens, [self._shard_tokens - used])
            # Opened anew each time: no file is left open, and no error left unsaid, when the disk is full.
            with (self._folder / _shard_name(shard)).open("ab") as file:
                file.write(now.tobytes())
            self.tokens += len(now)


class TokenStore:
    """Reads a store; it maps a shard when it is first needed, in each process for itself."""

    def __init__(self, folder: str | Path) -> None:
        """Opens the store in `folder`.

        Raises:
            UserError: it is missing or damaged.
        """
        self.folder = Path(folder)
        try:
            meta = json.loads((self.folder / _META).read_text())
            self._shards = [self.folder / name for name in meta["shards"]]
            held = sum(path.stat().st_size for path in self._shards)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"no token store in {self.folder} ({error}); prepare the data again") from error
        self._dtype = np.dtype(meta["dtype"])
        self._tokens: int = meta["tokens"]
        self._shard_tokens: int = meta["shard_tokens"]
        self.documents: int = meta["documents"]
        self.bytes: int = meta["bytes"]  # of the text, in UTF-8
        self.end_of_document: int = meta["end_of_document"]
        self.fingerprint: str = meta["fingerprint"]
        self.invalid = InvalidText(meta["invalid_documents"], meta["invalid_sequences"])
        # Stores that were written before there were filters do not have the key.
        self.filters = [Tally.of(plain) for plain in meta.get("filters", [])]
        self._maps: dict[int, NDArray[Any]] = {}
        if held != self._tokens * self._dtype.itemsize:
            need = self._tokens * self._dtype.itemsize
            raise UserError(f"{self.folder} holds {held} bytes of tokens instead of {need}; delete it to make it anew")

    def __len__(self) -> int:
        """How many tokens it holds."""
        return self._tokens

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a pickled map would carry its tokens along

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """Tokens [start, stop), across the borders of shards, int64 of shape (stop - start,).

        Raises:
            IndexError: the range is not within the store.
        """
        if not 0 <= start <= stop <= self._tokens:
            raise IndexError(f"tokens {start} to {stop} of a store of {self._tokens}")
        parts = []
        while start < stop:
            shard, offset = divmod(start, self._shard_tokens)
            part = self._map(shard)[offset : offset + stop - start]
            parts.append(part.astype(np.int64))
            start += len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _map(self, shard: int) -> NDArray[Any]:
        if shard not in self._maps:
            self._maps[shard] = np.memmap(self._shards[shard], self._dtype, mode="r")
        return self._maps[shard]


def _shard_name(index: int) -> str:
    return f"tokens-{index:05d}.bin"
