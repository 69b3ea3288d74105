"""The LightningDataModule for conversations: packed into rows, hardly any padding, the assistant's tokens to learn."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.chat_templates.encoder import ChatEncoder, Encoded, Lesson
from lmkit.data.conversations import Conversation, Messages, RowFormat
from lmkit.data.corpus.sources import STANDARD_LIBRARY
from lmkit.data.examples.answers import bytes_learned
from lmkit.data.examples.cutting import longest_that_fits
from lmkit.data.examples.maker import Example, Maker
from lmkit.data.examples.module import ConversationData
from lmkit.data.examples.preparation import ExamplePreparation
from lmkit.data.examples.store import ExampleStore
from lmkit.data.packed_rows import PackedRows
from lmkit.data.rows import RowSource, StandardLibraryChats, row_source_of
from lmkit.errors import UserError

TrainOn = Literal["assistant", "last", "all"]


class Chat(ConversationData):
    """Conversations, whole ones packed into rows of which little is padding; no token sees another conversation's.

    The order of training is a function of the seed and the data alone. Test and predict read the validation rows.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is the configuration)
        self,
        source: RowSource | str | Path = STANDARD_LIBRARY,
        validation_source: RowSource | str | Path | None = None,
        validation_fraction: float = 0.05,
        template: ChatTemplate | None = None,
        tokenizer: str | None = None,
        format: RowFormat | None = None,
        columns: dict[str, str] | None = None,
        train_on: TrainOn = "assistant",
        too_long: Literal["cut", "drop"] = "cut",
        strict: bool = False,
        context: int = 256,
        batch_size: int = 32,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        """Keeps the settings; nothing is read yet.

        Args:
            source: A file, folder or glob of .jsonl, .json or .parquet, "stdlib", or any source of rows.
            validation_source: The same, to validate on; none holds out rows of `source`.
            validation_fraction: Share of the rows of `source` held out where there is no `validation_source`.
            template: Writes conversations, such as `ChatML`; none for the tokenizer's own, or else `Plain`.
            tokenizer: Path of a tokenizer.json or its folder; none trains one, or takes that of `model.init_from`.
            format: Of the rows, such as `ShareGPT`; none finds it by their keys.
            columns: The rows' own names for keys of the format, as in {question: prompt}; none where they are alike.
            train_on: Tokens to learn: those of the "assistant", of its "last" turn only, or "all".
            too_long: Whether conversations longer than a row are "cut" by whole turns from their end, or "drop"ped, as
                all of them are where the "last" turn is what is learned.
            strict: Whether the first faulty row ends the run; else faulty rows are left out, counted and told.
            context: Tokens a row.
            batch_size: Rows an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training rows.
            workers: Processes that read batches on each rank; 0 reads in the main one. Never changes the batches.
        """
        preparation = ExamplePreparation(
            row_source_of(source, StandardLibraryChats),
            None if validation_source is None else row_source_of(validation_source, StandardLibraryChats),
            validation_fraction,
            tokenizer,
            template,
            format,
            columns,
            strict,
            Turns(context, train_on, too_long),
        )
        super().__init__(preparation, context, batch_size, seed, workers)

    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made, and says how full the rows are."""
        super().setup(stage)
        rows = self.rows(self.train)
        rank_zero_info(
            f"  {rows.tokens} tokens in {len(rows)} rows of {self.context}: {rows.filled:.1%} are no padding"
        )

    def rows(self, store: ExampleStore) -> PackedRows:
        """Rows of whole conversations."""
        return PackedRows(store, self.context, self.end_of_document)

    def rows_to_predict(self, store: ExampleStore) -> PackedRows:
        """Rows of one conversation each, in their order."""
        return PackedRows(store, self.context, self.end_of_document, [[number] for number in range(len(store))])


class Turns(Maker):
    """Conversations as examples.

    Args:
        context: tokens of a row, that a conversation has to fit into.
        train_on: tokens to learn.
        too_long: what becomes of those that do not fit.
    """

    kind, pieces, noun = Conversation, 1, "conversations"

    def __init__(self, context: int, train_on: TrainOn, too_long: Literal["cut", "drop"]) -> None:
        self.context, self.train_on, self.too_long = context, train_on, too_long

    def marked(self, encoder: ChatEncoder, value: Conversation) -> list[Lesson]:
        """See `Maker`."""
        return [self._lesson(encoder, value.messages, value)]

    def example(
        self, encoder: ChatEncoder, value: Conversation, texts: Sequence[Lesson], encoded: Sequence[Encoded]
    ) -> Example:
        """See `Maker`."""
        whole = _learnable(encoded[0])
        if len(whole.ids) - 1 <= self.context:
            return self._of(encoder, texts[0], whole)
        ends = [n for n, message in enumerate(value.messages, 1) if message["role"] == "assistant"]
        cuts = ends[:-1] if self.too_long == "cut" and self.train_on != "last" else []
        before, cut = partial(self._before, encoder, value), partial(self._cut, encoder, value)
        if example := longest_that_fits(cuts, self.context, before, cut):
            return example
        last = self.too_long == "cut" and self.train_on == "last" and len(ends) > 1
        why = ", and is not cut, since its last turn is what is learned (data.train_on)" if last else ""
        raise UserError(
            f"the conversation has {len(whole.ids)} tokens, and a row takes {self.context}{why}: give a longer "
            "data.context"
        )

    def _before(self, encoder: ChatEncoder, value: Conversation, end: int) -> int:
        """Tokens before the last answer of a beginning. They become more with each answer, even where a template takes
        thoughts out of earlier ones, which it has done by then.
        """
        return encoder.length(value.messages[: end - 1], value.tools)

    def _cut(self, encoder: ChatEncoder, value: Conversation, end: int) -> Example | None:
        """The example of the first messages up to an answer; none where it is too long."""
        lesson = self._lesson(encoder, value.messages[:end], value)
        (part,) = map(_learnable, encoder.encode([lesson]))
        if len(part.ids) - 1 > self.context:
            return None
        return self._of(encoder, lesson, part)._replace(cut=True)

    def _lesson(self, encoder: ChatEncoder, messages: Messages, value: Conversation) -> Lesson:
        """What of these messages is to learn."""
        answers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        lesson = encoder.mark(messages, value.tools, answers[-1] if self.train_on == "last" and answers else 0)
        if self.train_on == "all":
            return lesson._replace(spans=((0, len(lesson.text)),), rewritten=0)
        return lesson

    def _of(self, encoder: ChatEncoder, lesson: Lesson, piece: Encoded) -> Example:
        """The example of what is to learn; the bytes are those of text, without the tokens by which turns end."""
        learned = len(lesson.text.encode()) if self.train_on == "all" else bytes_learned(lesson, encoder)
        return Example([piece], learned, rewritten=lesson.rewritten)


def _learnable(encoded: Encoded) -> Encoded:
    """A conversation up to the last token that is learned.

    Raises:
        UserError: there is none.
    """
    learned = np.flatnonzero(encoded.trained[1:])
    if not len(learned):
        raise UserError(
            "nothing of the conversation is learned: let the assistant say something, not with a weight of 0"
        )
    end = int(learned[-1]) + 2
    return Encoded(encoded.ids[:end], encoded.trained[:end])
