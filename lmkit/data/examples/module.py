"""What data modules of encoded examples have in common: prepared once, opened, and streamed as rows."""

import json
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn
from tokenizers import Tokenizer

from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.data.examples.preparation import ExamplePreparation
from lmkit.data.examples.prepare import prepare_examples
from lmkit.data.examples.store import ExampleStore
from lmkit.data.module import StreamedData
from lmkit.data.stream import IndexedRows
from lmkit.data.whole_folder import check_made
from lmkit.errors import UserError


class ExampleData(StreamedData):
    """Rows of examples that a `Maker` makes of what was read.

    Attributes:
        train: the examples to train on; known after `setup`.
        validation: those to validate on.
    """

    validation: ExampleStore
    train: ExampleStore

    def __init__(self, preparation: ExamplePreparation, context: int, batch_size: int, seed: int, workers: int) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            preparation: what decides the examples.
            context: Tokens a row.
            batch_size: Rows an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training rows.
            workers: Processes that read batches on each rank; 0 reads in the main one.
        """
        super().__init__(context, batch_size, seed, workers)
        if context < 2:
            raise UserError(f"context is {context}: give the tokens of a row, 2 or more")
        self.source, self._preparation = preparation.source, preparation

    @abstractmethod
    def rows(self, store: ExampleStore) -> IndexedRows:
        """Rows of examples."""

    @abstractmethod
    def rows_to_predict(self, store: ExampleStore) -> IndexedRows:
        """Rows by which each example is told by itself: one a row, by its number, or with its number in the batch."""

    def row_name(self, number: int) -> str:
        """Where the row stands that this validation example was made of."""
        return self.validation.where[number]

    def prepare_data(self) -> None:
        """Encodes the examples into the cache, unless they are there."""
        prepare_examples(self._preparation)

    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made.

        Raises:
            UserError: it is not there, or a checkpoint that was loaded before is of other data.
        """
        folder = self._preparation.folder()
        check_made(folder)
        self.train, self.validation = ExampleStore(folder / "train"), ExampleStore(folder / "validation")
        self._encoder = _encoder_in(folder)
        self.tokenizer, self.end_of_document = self._encoder.tokenizer, self._encoder.end_of_document
        self.vocab_size_used = tokenizing.vocab_size_used(self.tokenizer)
        facts = self.validation.facts
        self.bytes_per_token = facts["bytes"] / max(facts["learned"], 1)
        rows = self.rows_to_predict if stage == "predict" else self.rows
        self._open(rows(self.train), rows(self.validation), self.train.fingerprint)

    def validation_text(self) -> Iterator[bytes]:
        """Yields what is learned of each validation example in UTF-8, without the tokens by which turns end."""
        self._rows()
        for number in range(len(self.validation)):
            ids = [i for piece in self.validation[number] for i in piece.ids[piece.trained].tolist()]
            yield self.tokenizer.decode([i for i in ids if i not in self._encoder.stops]).encode()


LOOKED_AT = 32
"""Examples by which it is told whether answers end as they should."""


class ConversationData(ExampleData):
    """Rows of examples that are made of conversations.

    Attributes:
        chat: encodes conversations as the examples are encoded; known after `setup`.
    """

    chat: ChatEncoder

    def setup(self, stage: str) -> None:
        """See `ExampleData`; warns where answers do not end by the token that ends a turn."""
        super().setup(stage)
        self.chat = self._encoder
        some = (piece for number in range(min(len(self.train), LOOKED_AT)) for piece in self.train[number])
        if not any(self.chat.stops[0] in piece.ids[piece.trained] for piece in some):
            rank_zero_warn(
                f"{self.chat.template.name} does not end what the assistant says by {self.chat.end_of_turn}, so that "
                "the network will not learn to stop: name the token that it writes there by data.template.end_of_turn, "
                "and have the template write it within its generation block, if it has one"
            )

    def sample_prompt(self) -> list[int]:
        """The ids of the first validation example up to what is learned; where that is all, its first token."""
        self._rows()
        first = self.validation[0][0]
        learned = first.trained.nonzero()[0]
        return first.ids[: max(int(learned[0]), 1)].tolist() if len(learned) else first.ids.tolist()


def _encoder_in(folder: Path) -> ChatEncoder:
    data = json.loads((folder / "encoder.json").read_text())
    return ChatEncoder.of(data, Tokenizer.from_file(str(folder / "tokenizer.json")), data["end_of_document"])
