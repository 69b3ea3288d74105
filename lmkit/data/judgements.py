"""The LightningDataModule for judgements: answers that are each called good or bad, without another beside them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.chat_templates.encoder import Encoded
from lmkit.data.conversations import Judged, Messages, Preference, RowFormat
from lmkit.data.corpus.sources import STANDARD_LIBRARY
from lmkit.data.examples.answers import Answers
from lmkit.data.examples.elsewhere import of_another_prompt
from lmkit.data.examples.module import ConversationData
from lmkit.data.examples.preparation import ExamplePreparation
from lmkit.data.examples.roles import CHOSEN, MISMATCHED, REJECTED, UNJUDGED
from lmkit.data.examples.store import ExampleStore
from lmkit.data.examples.trees import Trees, lay
from lmkit.data.rows import RowSource, StandardLibraryJudged, row_source_of
from lmkit.errors import UserError


class Judgements(ConversationData):
    """Answers to prompts, each good or bad, laid end to end, hardly any padding, for `KTO` (Ethayarajh et al. 2024,
    arXiv:2402.01306); behind each prompt there is an answer to another one, too, by which that loss tells how far the
    network has moved.

    The order of training is a function of the seed and the data alone. Test and predict read the validation answers;
    those of a `validation_source` need no label for `predict`.
    """

    gives = Trees
    paired = False

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
            source: A file, folder or glob of .jsonl, .json or .parquet, "stdlib", or any source of rows; of pairs, each
                is two answers.
            validation_source: The same, to validate on; none holds out rows of `source`.
            validation_fraction: Share of the rows of `source` held out where there is no `validation_source`.
            template: Writes conversations, such as `ChatML`; none for the tokenizer's own, or else `Plain`.
            tokenizer: Path of a tokenizer.json or its folder; none trains one, or takes that of `model.init_from`.
            format: Of the rows, such as `PromptCompletionLabel`; none finds it by their keys.
            columns: The rows' own names for keys of the format, as in {good: label}; none where they are alike.
            too_long: Whether prompts by which an answer is longer than `context` are "cut" by their oldest turns, or
                the answer is "drop"ped, as it is if the last turn alone is too long.
            strict: Whether the first faulty row ends the run; else faulty rows are left out, counted and told.
            context: The most tokens of a prompt and one answer.
            batch_size: Answers an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training answers.
            workers: Processes that read batches on each rank; 0 reads in the main one. Never changes the batches.
        """
        preparation = ExamplePreparation(
            row_source_of(source, StandardLibraryJudged),
            None if validation_source is None else row_source_of(validation_source, StandardLibraryJudged),
            validation_fraction,
            tokenizer,
            template,
            format,
            columns,
            strict,
            Verdicts(context, too_long),
        )
        super().__init__(preparation, context, batch_size, seed, workers)

    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made, and says how many answers are good.

        Raises:
            UserError: some to measure on are not said to be good or bad.
        """
        super().setup(stage)
        if stage == "predict":
            return
        if unjudged := int((self.validation.numbers[:, 0] < 0).sum()):
            raise UserError(
                f"{unjudged} of {len(self.validation)} answers to measure on have no label: give each true or false "
                "(`lmkit predict` alone needs none)"
            )
        good, count = int(self.train.numbers[:, 0].sum()), len(self.train)
        rank_zero_info(f"  {good} answers to train on are good, {count - good} are bad")
        if stage == "fit" and good in (0, count):
            rank_zero_warn(f"all answers to train on are {'good' if good else 'bad'}: give some of the other kind too")

    def rows(self, store: ExampleStore) -> "JudgedRows":
        """Each answer is a row by its number."""
        return JudgedRows(store, self.context, self.end_of_document)

    def rows_to_predict(self, store: ExampleStore) -> "OwnAnswers":
        """The same, of the prompts' own answers only."""
        return OwnAnswers(store, self.end_of_document)


class Verdicts(Answers):
    """Judged answers as examples: the prompt, the answer, and as a number whether it is desirable.

    Args:
        context: the most tokens of a prompt and its answer.
        too_long: what becomes of those that are longer.
    """

    kind, pieces, numbers, noun = (Judged, Preference), 2, 1, "judgements"

    def values(self, value: Judged | Preference) -> Iterator[Judged]:
        """One answer, or the two of a pair."""
        if isinstance(value, Judged):
            yield value
            return
        for answer in (value.chosen, value.rejected):
            yield Judged(value.prompt, answer, answer is value.chosen, value.tools)

    def answers(self, value: Judged) -> tuple[Messages]:
        """See `Answers`."""
        return (value.completion,)

    def told(self, value: Judged) -> tuple[float]:
        """See `Answers`."""
        return (-1.0 if value.desirable is None else float(value.desirable),)

    def check_learnable(self, value: Judged) -> None:
        """See `Maker`."""
        if value.desirable is None:
            raise UserError(
                "it has no label: give true or false, or name it by columns, as {good: label}; without labels, data of "
                "Chat learns from such rows, as recipes/sft.yaml does"
            )


class JudgedRows:
    """Examples of a prompt and its answer, each a row by its number, with the answer of another prompt beside it:
    always the same one, so that its log-probability by the reference can be kept.

    Args:
        store: of the examples.
        context: the most tokens of a prompt and one answer; another's is cut to that.
        pad: the id that fills up.

    Attributes:
        fingerprint: of all that the rows hold.

    Raises:
        UserError: all are of one prompt.
    """

    def __init__(self, store: ExampleStore, context: int, pad: int) -> None:
        self._store, self._context, self._pad = store, context, pad
        self.fingerprint = f"{store.fingerprint}, others up to {context}"
        prompts = store.same(0)
        if (prompts == prompts[0]).all():
            raise UserError(
                f"the {len(store)} judgements in {store.folder.name} are all of one prompt, but each is compared with "
                "an answer to another: give rows of several prompts, or another data.validation_fraction"
            )
        self._others = of_another_prompt(prompts)

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self._store)

    def batch(self, indices: Iterable[int]) -> Trees:
        """The examples of these numbers; what lies past the last one is left out."""
        examples = [index for index in indices if index < len(self)]
        roles = [(role, MISMATCHED) for role in _roles(self._store, examples)]
        return lay([self._tree(index) for index in examples], roles, examples, self._pad)

    def _tree(self, index: int) -> list[Encoded]:
        """The prompt, its answer, and another's, of which at least one token has room."""
        prompt, own = self._store[index]
        ids, trained = self._store[int(self._others[index])][1]
        room = self._context - len(prompt.ids)
        return [prompt, own, Encoded(ids[:room], trained[:room])]


class OwnAnswers:
    """Examples of a prompt and its answer, each a row by its number, which need no label.

    Args:
        store: of the examples.
        pad: the id that fills up.
    """

    def __init__(self, store: ExampleStore, pad: int) -> None:
        self._store, self._pad = store, pad

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self._store)

    def batch(self, indices: Iterable[int]) -> Trees:
        """The examples of these numbers; what lies past the last one is left out."""
        examples = [index for index in indices if index < len(self)]
        roles = [(role,) for role in _roles(self._store, examples)]
        return lay([self._store[index] for index in examples], roles, examples, self._pad)


def _roles(store: ExampleStore, examples: Iterable[int]) -> list[int]:
    """What the answers of these examples are, by what was told of them."""
    named = {1: CHOSEN, 0: REJECTED, -1: UNJUDGED}
    return [named[int(store.numbers[index, 0])] for index in examples]
