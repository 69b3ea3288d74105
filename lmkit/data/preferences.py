"""The LightningDataModule for preferences: two answers to a prompt, one chosen, the other rejected."""

from pathlib import Path
from typing import Literal

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.conversations import Messages, Preference, RowFormat
from lmkit.data.corpus.sources import STANDARD_LIBRARY
from lmkit.data.examples.answers import Answers
from lmkit.data.examples.module import ConversationData
from lmkit.data.examples.preparation import ExamplePreparation
from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.examples.store import ExampleStore
from lmkit.data.examples.trees import TreeRows, Trees
from lmkit.data.rows import RowSource, StandardLibraryPairs, row_source_of

SURE = 0.3
"""The share of pairs below which, or above the rest of which, the length of an answer tells which is chosen."""


class Preferences(ConversationData):
    """Pairs of answers to one prompt, laid end to end, hardly any padding; what the answers share is there once.

    The order of training is a function of the seed and the data alone. Test and predict read the validation pairs.
    """

    gives = Trees
    paired = True

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
        if stage == "fit" and not SURE < longer < 1 - SURE:
            rank_zero_warn(
                f"the longer answer is chosen in {longer:.0%} of the pairs, so that a model may learn length only: "
                "balance them, or take a preference loss of means, such as SimPO, where there is one to choose"
            )

    def rows(self, store: ExampleStore) -> TreeRows:
        """Each pair is a row by its number."""
        return TreeRows(store, (CHOSEN, REJECTED), self.end_of_document)

    rows_to_predict = rows


class Pairs(Answers):
    """Preferences as examples: what both answers share, the chosen one, the rejected one.

    Args:
        context: the most tokens of a prompt and one answer.
        too_long: what becomes of those that are longer.
    """

    kind, pieces, noun = Preference, 3, "preferences"

    def answers(self, value: Preference) -> tuple[Messages, Messages]:
        """See `Answers`."""
        return value.chosen, value.rejected
