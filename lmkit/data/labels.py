"""The LightningDataModule for labelled texts: whole ones packed into rows, hardly any padding, each with its class."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.data.chat_templates.encoder import ChatEncoder, Encoded, Lesson
from lmkit.data.conversations import Labelled, RowFormat
from lmkit.data.corpus.sources import STANDARD_LIBRARY
from lmkit.data.examples.maker import Example, Maker
from lmkit.data.examples.module import ExampleData
from lmkit.data.examples.preparation import ExamplePreparation
from lmkit.data.examples.store import ExampleStore
from lmkit.data.labelled_texts import NO_CLASS, LabelledRows, LabelledTexts
from lmkit.data.rows import RowSource, StandardLibraryLabels, row_source_of
from lmkit.errors import UserError

MOST_TOLD = 10  # labels that are no class


class Labels(ExampleData):
    """Texts, each with a label, for `Classification`. The labels of the training rows are the classes, in their order;
    a row to train on without a label is a fault.

    A text is read between two end-of-document tokens, of which the second one is to tell the class. The order of
    training is a function of the seed and the data alone. Test and predict read the validation texts, which need a
    label of one of the classes to be measured on, and none for `predict`.

    Attributes:
        classes: their names, known after `setup`.
    """

    gives = LabelledTexts
    classes: list[str]

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is the configuration)
        self,
        source: RowSource | str | Path = STANDARD_LIBRARY,
        validation_source: RowSource | str | Path | None = None,
        validation_fraction: float = 0.05,
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
            tokenizer: Path of a tokenizer.json or its folder; none trains one, or takes that of `model.init_from`.
            format: Of the rows, such as `TextLabel`; none finds it by their keys. Rows to predict need no label.
            columns: The rows' own names for keys of the format, as in {review: text}; none where they are alike.
            too_long: Whether of texts longer than a row the beginning is kept ("cut"), or nothing ("drop").
            strict: Whether the first faulty row ends the run; else faulty rows are left out, counted and told.
            context: Tokens a row.
            batch_size: Rows an optimizer step, over all ranks and accumulated micro-batches.
            seed: Chooses the order of the training rows.
            workers: Processes that read batches on each rank; 0 reads in the main one. Never changes the batches.
        """
        if context < 3:
            raise UserError(f"context is {context}: give the tokens of a row, 3 or more")
        preparation = ExamplePreparation(
            row_source_of(source, StandardLibraryLabels),
            None if validation_source is None else row_source_of(validation_source, StandardLibraryLabels),
            validation_fraction,
            tokenizer,
            None,
            format,
            columns,
            strict,
            LabelledExamples(context, too_long),
        )
        super().__init__(preparation, context, batch_size, seed, workers)

    def setup(self, stage: str) -> None:
        """Opens what `prepare_data` made, and says which classes there are and how full the rows are.

        Raises:
            UserError: there is nothing to measure on, as none of the validation texts is of a class.
        """
        super().setup(stage)
        self.classes = self.train.facts["classes"]
        if stage != "predict":
            self._tell_unmeasured()
        rows, numbers = self.rows(self.train), self.train.numbers[:, 0].astype(int)
        counts = np.bincount(numbers, minlength=len(self.classes))
        named = ", ".join(f"{name} ({count})" for name, count in zip(self.classes, counts, strict=True))
        rank_zero_info(f"  {len(self.classes)} classes: {named}")
        rank_zero_info(
            f"  {rows.tokens} tokens in {len(rows)} rows of {self.context}: {rows.filled:.1%} are no padding"
        )

    def rows(self, store: ExampleStore) -> LabelledRows:
        """Rows of the whole texts that are of a class."""
        return LabelledRows(store, np.flatnonzero(store.numbers[:, 0] != NO_CLASS), self.context, self.end_of_document)

    def rows_to_predict(self, store: ExampleStore) -> LabelledRows:
        """Rows of all whole texts."""
        return LabelledRows(store, np.arange(len(store)), self.context, self.end_of_document)

    def _tell_unmeasured(self) -> None:
        """Tells of validation texts that have no class."""
        other = int((self.validation.numbers[:, 0] == NO_CLASS).sum())
        if not other:
            return
        named = ", ".join(f"{label} ({count})" for label, count in self.validation.facts["no_class"].items())
        told = f"{other} of {len(self.validation)} texts to measure on are of none of the classes: {named}"
        if other == len(self.validation):
            raise UserError(f"{told}: give data.validation_source rows whose label is {' or '.join(self.classes)}")
        rank_zero_warn(f"  {told}; only `lmkit predict` reads them")


class LabelledExamples(Maker):
    """Labelled texts as examples: the text, and as a number its class, or `NO_CLASS`.

    Args:
        context: tokens of a row, that a text has to fit into.
        too_long: what becomes of those that do not.
    """

    kind, pieces, numbers, noun = Labelled, 1, 1, "texts"

    def __init__(self, context: int, too_long: Literal["cut", "drop"]) -> None:
        self.context, self.too_long = context, too_long
        self._classes: dict[str, int] = {}
        self._no_class: Counter[str] = Counter()

    def look(self, values: Iterator[Labelled]) -> None:
        """Finds the classes.

        Raises:
            UserError: there is one only.
        """
        self._no_class.clear()
        labels = {value.label for value in values if value.label is not None}
        found = sorted(labels, key=lambda label: (isinstance(label, str), label))
        self._classes = {name: number for number, name in enumerate(dict.fromkeys(map(str, found)))}
        if len(self._classes) < 2:
            raise UserError(
                f"all rows to train on have {f'the label {only[0]}' if (only := [*self._classes]) else 'no label'}: "
                "give rows of two classes or more, or name the label by columns, as {class: label}"
            )

    def facts(self) -> dict[str, Any]:
        """The names of the classes; and which labels of validation are none, by how many texts have them."""
        return {"classes": [*self._classes], "no_class": dict(self._no_class.most_common(MOST_TOLD))}

    def check_learnable(self, value: Labelled) -> None:
        """See `Maker`."""
        if value.label is None:
            raise UserError("it has no label: give one, or take the row out")

    def marked(self, encoder: ChatEncoder, value: Labelled) -> list[Lesson]:
        """See `Maker`."""
        return [encoder.text(value.text)]

    def example(
        self, encoder: ChatEncoder, value: Labelled, texts: Sequence[Lesson], encoded: Sequence[Encoded]
    ) -> Example:
        """See `Maker`."""
        ids, room = encoded[0].ids, self.context - 2
        if len(ids) > room and self.too_long == "drop":
            raise UserError(
                f"the text has {len(ids)} tokens, and a row takes {room} beside the two around it: give a longer "
                "data.context"
            )
        number = self._classes.get(str(value.label), NO_CLASS)
        if number == NO_CLASS:
            self._no_class["without a label" if value.label is None else str(value.label)] += 1
        kept = ids[:room]
        size = len(value.text.encode() if kept is ids else encoder.tokenizer.decode(kept.tolist()).encode())
        end = [encoder.end_of_document]
        trained = np.pad(np.ones(len(kept), np.bool_), 1)
        piece = Encoded(np.concatenate([end, kept, end]), trained)
        return Example([piece], size, [number], cut=len(kept) < len(ids))
