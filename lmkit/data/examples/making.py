"""Makes encoded examples out of rows: reads, splits, encodes many texts at once, and writes."""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.data.conversations import Faults, Labelled, read
from lmkit.data.examples.maker import Example
from lmkit.data.examples.preparation import VOCABULARY, ExamplePreparation
from lmkit.data.examples.store import ExampleWriter
from lmkit.data.rows import Row, RowSource
from lmkit.data.split import is_validation
from lmkit.errors import UserError

TOGETHER = 256
"""Rows whose texts are encoded at once, by all cores."""


class Making:
    """Fills a folder with the examples of a preparation.

    Args:
        wanted: the preparation.
        folder: is empty.

    Raises:
        UserError: the tokenizer cannot be read.
    """

    def __init__(self, wanted: ExamplePreparation, folder: Path) -> None:
        self._wanted, self._folder, self._maker = wanted, folder, wanted.maker
        self._faults = Faults(wanted.strict)
        tokenizer, end = self._tokenizer()
        self._encoder = wanted.encoder(tokenizer, end)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True))
        (folder / "encoder.json").write_text(json.dumps({**self._encoder.plain(), "end_of_document": end}))
        self._sides = ("train", "validation")
        self._writers = {name: self._writer(name) for name in self._sides}
        self._facts = {name: {"cut": 0, "rewritten": 0, "bytes": 0, "learned": 0} for name in self._sides}

    def run(self) -> None:
        """Reads all rows and writes their examples.

        Raises:
            UserError: nothing can be read, or one side of the split is empty.
        """
        self._maker.look(value for _, value in self._to_train(Faults(strict=False), self._encoder))
        self._take(self._wanted.source, self._source_side)
        if self._wanted.validation_source is not None:
            self._take(self._wanted.validation_source, "validation")
        counts = {name: writer.examples for name, writer in self._writers.items()}
        self._refuse_empty(**counts)
        for name, writer in self._writers.items():
            writer.finish({**self._facts[name], **self._maker.facts(), "faults": [*self._faults.lines()]})

    def _writer(self, name: str) -> ExampleWriter:
        return ExampleWriter(self._folder / name, self._maker.pieces, self._maker.numbers)

    def _tokenizer(self) -> tuple[Tokenizer, int]:
        if self._wanted.tokenizer is not None:
            return tokenizing.load_with_end(self._wanted.tokenizer)
        tokenizer = tokenizing.train(self._texts(), VOCABULARY)
        return tokenizer, tokenizing.end_of_document(tokenizer)

    def _texts(self) -> Iterator[str]:
        """What a tokenizer is trained on: the training rows as their template writes them."""
        bare = self._wanted.encoder(tokenizing.train(iter(()), 257), 0)
        faults = Faults(strict=False)
        for row, value in self._to_train(faults, bare):
            with faults.row(row):
                yield from (lesson.text for lesson in self._maker.marked(bare, value))

    def _to_train(self, faults: Faults, encoder: ChatEncoder) -> Iterator[tuple[Row, Any]]:
        """The rows to train on."""
        for row, value in self._read(self._wanted.source, faults, encoder):
            if self._side(row, value, self._source_side) == "train":
                with faults.row(row):
                    self._maker.check_learnable(value)
                    yield row, value

    def _read(self, source: RowSource, faults: Faults, encoder: ChatEncoder) -> Iterator[tuple[Row, Any]]:
        wanted = self._wanted
        kind: Any = self._maker.kind
        for row, value in read(source, wanted.format, wanted.columns, faults, kind, encoder.template.roles):
            yield from ((row, each) for each in self._maker.values(value))

    def _take(self, source: RowSource, side: str | None) -> None:
        """Reads a source; its rows are on one side, or are split."""
        rows = self._read(source, self._faults, self._encoder)
        while some := [*islice(rows, TOGETHER)]:
            written = []
            for row, value in some:
                with self._faults.row(row):
                    if side != "validation":
                        self._maker.check_learnable(value)
                    written.append((row, value, self._maker.marked(self._encoder, value)))
            encoded = iter(self._encoder.encode([text for _, _, texts in written for text in texts]))
            for row, value, texts in written:
                tokens = [*islice(encoded, len(texts))]
                with self._faults.row(row):
                    example = self._maker.example(self._encoder, value, texts, tokens)
                    self._keep(example, row.where, self._side(row, value, side))

    @property
    def _source_side(self) -> str | None:
        """The side of all rows of the source; none where they are split."""
        return None if self._wanted.validation_source is None else "train"

    def _side(self, row: Row, value: Any, side: str | None) -> str:
        group = row.group or json.dumps(_opening(value), sort_keys=True, default=str)
        held = side is None and _is_held_out(group, self._wanted.validation_fraction)
        return side or ("validation" if held else "train")

    def _keep(self, example: Example, where: str, side: str) -> None:
        self._writers[side].add(example.pieces, example.numbers, where)
        facts, first = self._facts[side], example.pieces[0].trained
        facts["cut"] += example.cut
        facts["rewritten"] += example.rewritten
        facts["bytes"] += example.bytes
        facts["learned"] += sum(int(piece.trained.sum()) for piece in example.pieces) - int(first[0])  # has no past

    def _refuse_empty(self, train: int, validation: int) -> None:
        if train and validation:
            return
        self._faults.check_left(train + validation, self._wanted.source)
        lines = self._faults.lines()
        told = "; ".join(lines if len(lines) < 4 else [*lines[:2], lines[-1]])  # the most frequent ones, and how many
        raise UserError(
            f'the source "{self._wanted.source}" leaves {train} {self._maker.noun} to train on and {validation} to '
            f"validate on{f' ({told})' if told else ''}: give more rows, another data.validation_fraction, such as "
            "0.3, or a data.validation_source"
        )


@lru_cache(maxsize=1024)
def _is_held_out(group: str, fraction: float) -> bool:
    """Whether a group is kept for validation; many rows have one, which may be a long text."""
    return is_validation(group, fraction)


def _opening(value: Any) -> Any:
    """What decides the side of a row that says nothing of its group: what is said before the first answer, but for the
    system, whatever else its messages have, so that no question is on both sides; of a text that is labelled, the text.
    """
    if isinstance(value, Labelled):
        return value.text
    messages = getattr(value, "messages", None) or getattr(value, "prompt", None)
    if messages is None:
        return list(value)
    number = next((n for n, message in enumerate(messages) if message["role"] == "assistant"), len(messages))
    said = [(message["role"], message.get("content")) for message in messages[:number]]
    return [each for each in said if each[0] != "system"]
