"""Makes encoded examples out of rows and keeps them in the cache, so that later runs find them there."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import tokenizers
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from tokenizers import Tokenizer

from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates import ChatTemplate, Plain
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.data.chat_templates.kept import beside, plain
from lmkit.data.conversations import Faults, Labelled, RowFormat, read
from lmkit.data.corpus.identity import identity
from lmkit.data.examples import ExampleStore, ExampleWriter
from lmkit.data.maker import Example, Maker
from lmkit.data.named_tokens import named_in
from lmkit.data.prepare import cache_root
from lmkit.data.rows import Row, RowSource
from lmkit.data.split import is_validation
from lmkit.data.whole_folder import whole_folder
from lmkit.errors import UserError

FORMAT = 2
"""Of what is kept in the cache; another number makes all anew."""
VOCABULARY = 8192
"""Tokens of a tokenizer that is trained on conversations, for want of another."""
TOGETHER = 256
"""Rows whose texts are encoded at once, by all cores."""


@dataclass(frozen=True)
class ExamplePreparation:
    """What decides the content of the cache.

    Attributes:
        source: of rows.
        validation_source: of rows to validate on; none holds out some of `source`.
        validation_fraction: how many.
        tokenizer: path of a tokenizer.json or its folder; none trains one.
        template: writes conversations; none for the tokenizer's own, or `Plain` where it has none.
        format: of the rows; none finds it by their keys.
        columns: the rows' own names of the format's keys.
        strict: whether the first faulty row ends it.
        maker: makes the examples.
    """

    source: RowSource
    validation_source: RowSource | None
    validation_fraction: float
    tokenizer: str | None
    template: ChatTemplate | None
    format: RowFormat | None
    columns: dict[str, str] | None
    strict: bool
    maker: Maker

    def folder(self) -> Path:
        """Where it belongs: `tokenizer.json`, `train` and `validation`.

        Raises:
            UserError: the source or the tokenizer cannot be read, the fraction is not between 0 and 1, or a part's
                options are not known.
        """
        if self.validation_source is None and not 0 < self.validation_fraction < 1:
            raise UserError(f"validation_fraction {self.validation_fraction} needs to be between 0 and 1, as 0.05")
        words: object = VOCABULARY
        if self.tokenizer is not None:
            tokenizer, end = tokenizing.load_with_end(self.tokenizer)
            words = [blake2b(tokenizer.to_str().encode()).hexdigest(), end, self.encoder(tokenizer, end).plain()]
        split = self.validation_fraction if self.validation_source is None else self.validation_source.key()
        template = None if self.template is None else plain(self.template)
        reading = [identity(self.format) if self.format else None, self.columns, self.strict]
        parts = [FORMAT, tokenizers.__version__, self.source.key(), split, words, template, reading]
        key = json.dumps([*parts, identity(self.maker)], sort_keys=True)
        return cache_root() / f"{self.maker.noun}-{blake2b(key.encode(), digest_size=16).hexdigest()}"

    def encoder(self, tokenizer: Tokenizer, end: int) -> ChatEncoder:
        """What encodes conversations.

        Args:
            tokenizer: which `tokenizer` names, or one that was trained.
            end: the id of the token that ends a document.

        Raises:
            UserError: the template beside the tokenizer cannot be read.
        """
        if self.tokenizer is None:
            return ChatEncoder(self.template or Plain(), tokenizer, end)
        path = Path(self.tokenizer)
        folder = path if path.is_dir() else path.parent
        named = named_in(folder)
        bos, eos = (named.get(role) for role in ("bos_token", "eos_token"))
        bos, eos = (tokenizer.id_to_token(name) if isinstance(name, int) else name for name in (bos, eos))
        template = self.template or beside(folder, tokenizer, end, bos, eos) or Plain()
        return ChatEncoder(template, tokenizer, end, bos, eos)


def prepare_examples(wanted: ExamplePreparation) -> Path:
    """Makes the examples unless they are there, says what there is, and returns their folder.

    Raises:
        UserError: nothing can be read, one side of the split is empty, or no space is left.
    """
    began, folder = time.perf_counter(), wanted.folder()
    cached = folder.is_dir()
    if not cached:
        with whole_folder(folder) as part:
            _Making(wanted, part).run()
    seconds = time.perf_counter() - began
    train, validation = ExampleStore(folder / "train"), ExampleStore(folder / "validation")
    rank_zero_info(
        f'data "{wanted.source}": {len(train)} {wanted.maker.noun} to train, {len(validation)} to validate, '
        f"{'cached' if cached else 'prepared'} in {folder} ({seconds:.1f} s)"
    )
    for store in (train, validation):
        if cut := store.facts["cut"]:
            rank_zero_info(f"  {cut} of the {wanted.maker.noun} in {store.folder.name} are cut, being too long")
    for line in train.facts["faults"]:
        rank_zero_warn(f"  {line}")
    return folder


class _Making:
    """Fills a folder with the examples of a preparation."""

    def __init__(self, wanted: ExamplePreparation, folder: Path) -> None:
        self._wanted, self._folder, self._maker = wanted, folder, wanted.maker
        self._faults = Faults(wanted.strict)
        tokenizer, end = self._tokenizer()
        self._encoder = wanted.encoder(tokenizer, end)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True))
        (folder / "encoder.json").write_text(json.dumps({**self._encoder.plain(), "end_of_document": end}))
        self._sides = ("train", "validation")
        self._writers = {name: self._writer(name) for name in self._sides}
        self._facts = {name: {"cut": 0, "bytes": 0, "learned": 0} for name in self._sides}

    def run(self) -> None:
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
                yield from (text for text, _ in self._maker.marked(bare, value))

    def _to_train(self, faults: Faults, encoder: ChatEncoder) -> Iterator[tuple[Row, Any]]:
        """The rows to train on."""
        rows = self._read(self._wanted.source, faults, encoder)
        return ((row, value) for row, value in rows if self._side(row, value, self._source_side) == "train")

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
                    written.append((row, value, self._maker.marked(self._encoder, value)))
            encoded = iter(
                self._encoder.encode([text for _, _, texts in written for text in texts], self._maker.train_on)
            )
            for row, value, texts in written:
                tokens = [*islice(encoded, len(texts))]
                with self._faults.row(row):
                    example = self._maker.example(self._encoder, value, texts, tokens)
                    self._keep(example, self._side(row, value, side))

    @property
    def _source_side(self) -> str | None:
        """The side of all rows of the source; none where they are split."""
        return None if self._wanted.validation_source is None else "train"

    def _side(self, row: Row, value: Any, side: str | None) -> str:
        group = row.group or json.dumps(_opening(value), sort_keys=True, default=str)
        held = side is None and _is_held_out(group, self._wanted.validation_fraction)
        return side or ("validation" if held else "train")

    def _keep(self, example: Example, side: str) -> None:
        self._writers[side].add(example.pieces, example.numbers)
        facts, first = self._facts[side], example.pieces[0].trained
        facts["cut"] += example.cut
        facts["bytes"] += example.bytes
        facts["learned"] += sum(int(piece.trained.sum()) for piece in example.pieces) - int(first[0])  # has no past

    def _refuse_empty(self, train: int, validation: int) -> None:
        if train and validation:
            return
        told = "; ".join(self._faults.lines())
        raise UserError(
            f'the source "{self._wanted.source}" leaves {train} {self._maker.noun} to train on and {validation} to '
            f"validate on{f' ({told})' if told else ''}: give more rows, another data.validation_fraction, or a "
            "data.validation_source"
        )


@lru_cache(maxsize=1024)
def _is_held_out(group: str, fraction: float) -> bool:
    """Whether a group is kept for validation; many rows have one, which may be a long text."""
    return is_validation(group, fraction)


def _opening(value: Any) -> Any:
    """What decides the side of a row that says nothing of its group: all that comes before the first answer, so that no
    question is on both sides; of a text that is labelled, the text.
    """
    if isinstance(value, Labelled):
        return value.text
    messages = getattr(value, "messages", None) or getattr(value, "prompt", None)
    if messages is None:
        return list(value)
    number = next((n for n, message in enumerate(messages) if message["role"] == "assistant"), len(messages))
    return [*messages[:number]]
