"""The LightningDataModule for language modelling on raw text."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lmkit.data import tokenizer as tokenizing
from lmkit.data.corpus import Filter, Source
from lmkit.data.corpus.sources import STANDARD_LIBRARY, source_of
from lmkit.data.module import StreamedData
from lmkit.data.packing import Rows
from lmkit.data.prepare import Preparation, prepare
from lmkit.data.store import TokenStore
from lmkit.data.whole_folder import check_made

_READ_TOKENS = 1 << 20


class Text(StreamedData):
    """Raw text as endless training batches, and all of its validation documents once.

    The order of training is a function of the seed and the data alone: a run may be resumed on another number of ranks
    or workers and sees the same batches. Test and predict read the validation documents.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is the configuration)
        self,
        source: Source | str | Path = STANDARD_LIBRARY,
        validation_source: Source | str | Path | None = None,
        validation_fraction: float = 0.05,
        documents: Literal["joined", "separate"] = "joined",
        tokenizer: str | None = None,
        vocab_size: int = 8192,
        context: int = 256,
        batch_size: int = 32,
        seed: int = 0,
        workers: int = 0,
        filters: list[Filter] | None = None,
    ) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            source: A file, folder or glob of .txt, .md, .py or .jsonl (also .gz, .zst), "stdlib", or any source.
            validation_source: The same, to validate on, unfiltered; none holds out documents of `source`.
            validation_fraction: Share of the documents of `source` held out where there is no `validation_source`.
            documents: "joined" lets a row's tokens attend across documents, "separate" numbers them to prevent it.
            tokenizer: Path of a tokenizer.json or its folder; none trains a byte-level BPE on the training documents.
            vocab_size: Most tokens of the tokenizer that is trained, at least 257; unused where one is given.
            context: Tokens a row.
            batch_size: Sequences an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training rows.
            workers: Processes that read batches on each rank; 0 reads in the main one. Never changes the batches.
            filters: What the documents of `source` go through, in this order, before they are held out.
        """
        super().__init__(context, batch_size, seed, workers)
        self.source = source_of(source)
        validation = None if validation_source is None else source_of(validation_source)
        self._preparation = Preparation(
            self.source, validation, validation_fraction, tokenizer, vocab_size, tuple(filters or ())
        )
        self._separate = documents == "separate"

    def prepare_data(self) -> None:
        """Trains the tokenizer and writes the token stores into the cache, unless they are there."""
        prepare(self._preparation)

    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made.

        Raises:
            UserError: it is not there, or a checkpoint that was loaded before is of other data.
        """
        folder = self._preparation.folder()
        check_made(folder)
        train, self._validation = TokenStore(folder / "train"), TokenStore(folder / "validation")
        self.tokenizer = tokenizing.load(Path(folder / "tokenizer.json"))
        self.end_of_document = train.end_of_document
        self.vocab_size_used = tokenizing.vocab_size_used(self.tokenizer)
        self.bytes_per_token = self._validation.bytes / (len(self._validation) - 1)
        rows = partial(Rows, context=self.context, separate=self._separate)
        self._open(rows(train), rows(self._validation), train.fingerprint)

    def validation_text(self) -> Iterator[bytes]:
        """Yields the text of each validation document in UTF-8, one at a time, as its tokens decode."""
        self._rows()
        waiting: list[int] = []
        for start in range(1, len(self._validation), _READ_TOKENS):
            tokens = self._validation.read(start, min(start + _READ_TOKENS, len(self._validation)))
            *whole, rest = np.split(tokens, np.flatnonzero(tokens == self.end_of_document) + 1)
            for document in whole:
                waiting += document[:-1].tolist()
                yield self.tokenizer.decode(waiting, skip_special_tokens=False).encode()
                waiting = []
            waiting += rest.tolist()
