"""The LightningDataModule for preferences: two answers to a prompt, one chosen, the other rejected."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.chat_templates.dialect import Marked
from lmkit.data.chat_templates.encoder import ChatEncoder, Encoded
from lmkit.data.conversations import Preference, RowFormat
from lmkit.data.corpus.sources import STANDARD_LIBRARY
from lmkit.data.example_data import ExampleData
from lmkit.data.examples import ExampleStore
from lmkit.data.prepare_examples import Example, ExamplePreparation, Maker
from lmkit.data.roles import CHOSEN, REJECTED
from lmkit.data.rows import RowSource, StandardLibraryPairs, row_source_of
from lmkit.data.trees import TreeRows
from lmkit.errors import UserError

SURE = 0.3
"""The share of pairs below which, or above the rest of which, the length of an answer tells which is chosen."""


class Preferences(ExampleData):
    """Pairs of answers to one prompt, laid end to end without padding; what the answers share is there once.

    The order of training is a function of the seed and the data alone. Test and predict read the validation pairs.
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
            format: Of the rows, such as `ChosenRejected`; none finds it by their keys.
            columns: The rows' own names for keys of the format, as in {question: prompt}; none where they are alike.
            too_long: Whether prompts by which an answer is longer than `context` are "cut" by their oldest turns, or
                the pair is "drop"ped, as it is if the last turn alone is too long.
            strict: Whether the first faulty row ends the run; else faulty rows are left out, counted and told.
            context: The most tokens of a prompt and one answer.
            batch_size: Pairs an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training pairs.
            workers: Processes that read batches on each rank; 0 reads in the main one. Never changes the batches.
        """
        preparation = ExamplePreparation(
            row_source_of(source, StandardLibraryPairs),
            None if validation_source is None else row_source_of(validation_source, StandardLibraryPairs),
            validation_fraction,
            tokenizer,
            template,
            format,
            columns,
            strict,
            Pairs(context, too_long),
        )
        super().__init__(preparation, context, batch_size, seed, workers)

    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made, and says how long the answers are: a model may learn no more than that."""
        super().setup(stage)
        _, chosen, rejected = self.train.lengths.T
        longer = float((chosen > rejected).mean() + (chosen == rejected).mean() / 2)
        rank_zero_info(f"  mean tokens: {chosen.mean():.0f} of chosen answers, {rejected.mean():.0f} of rejected ones")
        if not SURE < longer < 1 - SURE:
            rank_zero_warn(
                f"the longer answer is chosen in {longer:.0%} of the pairs, so that a model may learn length only: "
                "see whether tokens_chosen and tokens_rejected grow apart, or choose a loss of means, such as SimPO"
            )

    def rows(self, store: ExampleStore) -> TreeRows:
        """Each pair is a row by its number."""
        return TreeRows(store, (CHOSEN, REJECTED), self.end_of_document)


class Pairs(Maker):
    """Preferences as examples: what both answers share, the chosen one, the rejected one.

    Args:
        context: the most tokens of a prompt and one answer.
        too_long: what becomes of those that are longer.
    """

    kind, pieces, noun = Preference, 3, "preferences"

    def __init__(self, context: int, too_long: Literal["cut", "drop"]) -> None:
        self.context, self.too_long = context, too_long

    def marked(self, encoder: ChatEncoder, value: Preference) -> list[Marked]:
        """See `Maker`."""
        before = sum(message["role"] == "assistant" for message in value.prompt)  # whose answers are not learned
        texts = [encoder.mark([*value.prompt, *answer], value.tools) for answer in (value.chosen, value.rejected)]
        return [Marked(text, spans[before:]) for text, spans in texts]

    def example(
        self, encoder: ChatEncoder, value: Preference, texts: Sequence[Marked], encoded: Sequence[Encoded]
    ) -> Example:
        """See `Maker`."""
        pieces = split(encoded)
        longest = len(pieces[0].ids) + max(len(piece.ids) for piece in pieces[1:]) - 1
        if longest <= self.context:
            return Example(pieces, sum(_bytes(text, encoder) for text in texts))
        shorter = _without_oldest(value.prompt) if self.too_long == "cut" else None
        if shorter is None:
            raise UserError(
                f"the prompt with an answer has {longest} tokens, more than {self.context}: give a longer data.context"
            )
        again = value._replace(prompt=shorter)
        texts = self.marked(encoder, again)
        return self.example(encoder, again, texts, encoder.encode(texts))._replace(cut=True)


def split(encoded: Sequence[Encoded]) -> list[Encoded]:
    """Conversations of one prompt as what they share, up to the first token that is learned, and what each has by
    itself, up to the last.

    Raises:
        UserError: they do not differ, or nothing is learned of one.
    """
    learned = [np.flatnonzero(one.trained) for one in encoded]
    if not all(map(len, learned)):
        raise UserError("an answer has no token to learn: let the assistant say something in each")
    end = min(int(tokens[0]) for tokens in learned)
    first = encoded[0].ids[:end]
    for other in encoded[1:]:
        differ = np.flatnonzero(other.ids[:end] != first[:end])
        end = int(differ[0]) if len(differ) else end
    answers = [
        Encoded(one.ids[end : int(tokens[-1]) + 1], one.trained[end : int(tokens[-1]) + 1])
        for one, tokens in zip(encoded, learned, strict=True)
    ]
    if len(answers) > 1 and all(np.array_equal(answers[0].ids, answer.ids) for answer in answers[1:]):
        raise UserError("the chosen and the rejected answer are the same tokens: leave the pair out")
    if end == 0:
        raise UserError("the answers share no token with a prompt: choose a template that writes the prompt first")
    return [Encoded(first[:end], np.zeros(end, np.bool_)), *answers]


def _without_oldest(prompt: Sequence[dict[str, object]]) -> tuple[dict[str, object], ...] | None:
    """A prompt without its oldest question and what follows up to the next; none if there is one question only."""
    asked = [number for number, message in enumerate(prompt) if message["role"] == "user"]
    if len(asked) < 2:
        return None
    return (*prompt[: asked[0]], *prompt[asked[1] :])


def _bytes(text: Marked, encoder: ChatEncoder) -> int:
    return sum(len(text.text[a:b].removesuffix(encoder.end_of_turn).encode()) for a, b in text.spans)
