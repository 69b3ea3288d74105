"""Encoded examples in flat files, mapped into memory when read: each is a few pieces of tokens, of any lengths.

A conversation is one piece; a preference is three: what both answers share, the chosen one, the rejected one.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmkit.data.chat_templates.encoder import Encoded
from lmkit.errors import UserError

_META, _TOKENS, _TRAINED, _ENDS, _NUMBERS = "meta.json", "tokens.bin", "trained.bin", "ends.bin", "numbers.bin"
_WHERE = "where.txt"
_TYPES = {_TOKENS: "<u4", _TRAINED: "?", _ENDS: "<i8", _NUMBERS: "<f4"}
_WAITING = 1 << 20


class ExampleWriter:
    """Writes examples to a folder, in memory that does not grow with their number.

    Args:
        folder: is made; its parent exists.
        pieces: of each example.
        numbers: of each example beside its pieces.
    """

    def __init__(self, folder: Path, pieces: int, numbers: int = 0) -> None:
        folder.mkdir()
        self._folder, self._pieces, self._numbers = folder, pieces, numbers
        self._waiting: dict[str, list[NDArray[Any]]] = {name: [] for name in _TYPES}
        self._held = self._end = 0
        self._hash = blake2b(digest_size=16)
        self.examples = 0
        self._where: list[str] = []
        for name in (*_TYPES, _WHERE):
            (folder / name).touch()

    def add(self, pieces: Sequence[Encoded], numbers: Sequence[float] = (), where: str = "") -> None:
        """Adds an example, made of the row that is there."""
        assert len(pieces) == self._pieces
        assert len(numbers) == self._numbers
        for piece in pieces:
            self._end += len(piece.ids)
            self._waiting[_TOKENS].append(piece.ids)
            self._waiting[_TRAINED].append(piece.trained)
            self._waiting[_ENDS].append(np.array([self._end]))
            self._held += len(piece.ids)
        self._waiting[_NUMBERS].append(np.array(numbers))
        self._where.append(" ".join(where.split()))
        self.examples += 1
        if self._held > _WAITING:
            self._flush()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Writes what is left, and facts as JSON, which `ExampleStore.facts` gives back."""
        self._flush()
        meta = {
            "examples": self.examples,
            "pieces": self._pieces,
            "numbers": self._numbers,
            "fingerprint": self._hash.hexdigest(),
            "facts": dict(facts),
        }
        (self._folder / _META).write_text(json.dumps(meta, indent=1))

    def _flush(self) -> None:
        for name, parts in self._waiting.items():
            data = np.concatenate(parts).astype(_TYPES[name]).tobytes() if parts else b""
            self._hash.update(data)
            with (self._folder / name).open("ab") as file:
                file.write(data)
            parts.clear()
        with (self._folder / _WHERE).open("a", encoding="utf-8") as file:
            file.writelines(f"{where}\n" for where in self._where)
        self._where.clear()
        self._held = 0


class ExampleStore:
    """Reads what an `ExampleWriter` wrote.

    Args:
        folder: of the files.

    Attributes:
        lengths: tokens of each piece (N, pieces).
        numbers: what each example has beside its pieces (N, numbers).
        facts: what was said of all.
        fingerprint: of the content.

    Raises:
        UserError: it is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            meta = json.loads((folder / _META).read_text())
            count, pieces = meta["examples"], meta["pieces"]
            self._ends = np.fromfile(folder / _ENDS, _TYPES[_ENDS]).reshape(count, pieces)
            self.numbers = np.fromfile(folder / _NUMBERS, _TYPES[_NUMBERS]).reshape(count, meta["numbers"])
            total = int(self._ends[-1, -1]) if count else 0
            if (folder / _TRAINED).stat().st_size != total:
                raise ValueError("its files do not fit together")
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"no examples in {folder} ({error}): delete it to have it made anew") from error
        flat = self._ends.reshape(-1)
        self.lengths = np.diff(flat, prepend=0).reshape(count, pieces)
        self.facts: dict[str, Any] = meta["facts"]
        self.fingerprint: str = meta["fingerprint"]
        self._maps: dict[str, NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}  # a pickled map would carry its tokens along

    def __getitem__(self, index: int) -> list[Encoded]:
        """The pieces of an example."""
        tokens, trained = self._map(_TOKENS), self._map(_TRAINED)
        found = []
        for end, length in zip(self._ends[index].tolist(), self.lengths[index].tolist(), strict=True):
            part = slice(end - length, end)
            found.append(Encoded(tokens[part].astype(np.int64), trained[part]))
        return found

    def same(self, piece: int) -> NDArray[np.int64]:
        """Numbers of what the examples have as this piece (N), equal where its tokens are equal."""
        tokens, numbers = self._map(_TOKENS), dict[bytes, int]()
        ends = self._ends[:, piece].tolist()
        texts = (tokens[end - length : end] for end, length in zip(ends, self.lengths[:, piece].tolist(), strict=True))
        # hashes, so that what is held does not grow with the texts
        hashes = (blake2b(text.data, digest_size=16).digest() for text in texts)
        return np.fromiter((numbers.setdefault(one, len(numbers)) for one in hashes), np.int64, len(self))

    @cached_property
    def where(self) -> list[str]:
        """The row that each example was made of, in words."""
        return (self.folder / _WHERE).read_text(encoding="utf-8").split("\n")[:-1]

    def _map(self, name: str) -> NDArray[Any]:
        if name not in self._maps:
            self._maps[name] = np.memmap(self.folder / name, _TYPES[name], mode="r")
        return self._maps[name]
