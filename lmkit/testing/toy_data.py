"""Toy data modules for tasks that take other batches than rows of text, and a checkpoint to begin with."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import LightningDataModule

from lmkit.checkpoints import KEY, write
from lmkit.data.chat_templates.encoder import Encoded
from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.examples.trees import TreeRows, Trees
from lmkit.data.labelled_texts import LabelledRows, LabelledTexts
from lmkit.data.module import StreamedData
from lmkit.data.packing import IGNORE, Batch
from lmkit.data.stream import IndexedRows
from lmkit.network import Decoder
from lmkit.testing.given import VOCABULARY, Size
from lmkit.testing.toys import CONTEXT, END, TOKENIZER, USED, toy_batch, toy_text

EXAMPLES = 32
CLASSES = ["left", "middle", "right"]


class _Store:
    """Examples in memory, as an `ExampleStore` has them."""

    def __init__(self, seed: int, shapes: Sequence[tuple[int, int, bool]]) -> None:
        """`shapes` has for each piece the fewest and the most tokens, and whether they are learned."""
        draw = np.random.default_rng(seed)
        self._pieces = [[_piece(draw, *shape) for shape in shapes] for _ in range(EXAMPLES)]
        self.lengths = np.array([[len(piece.ids) for piece in pieces] for pieces in self._pieces])
        self.numbers = draw.integers(0, len(CLASSES), (EXAMPLES, 1))
        self.fingerprint = f"toy {seed}"

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> list[Encoded]:
        return self._pieces[index]


def _piece(draw: np.random.Generator, least: int, most: int, learned: bool) -> Encoded:
    count = draw.integers(least, most + 1)
    return Encoded(draw.integers(1, USED, count), np.full(count, learned))


class _ToyExamples(StreamedData):
    """Private, as all here, so that no list of what a recipe can name has it."""

    tokenizer, end_of_document, vocab_size_used = TOKENIZER, END, USED
    shapes: Sequence[tuple[int, int, bool]]

    def __init__(self) -> None:
        super().__init__(context=CONTEXT, batch_size=4, seed=0, workers=0)
        self.train: Any = _Store(0, self.shapes)
        self.validation: Any = _Store(1, self.shapes)

    @abstractmethod
    def rows(self, store: Any) -> IndexedRows:
        """Rows of examples."""

    def prepare_data(self) -> None:
        """Nothing is to be made."""

    def setup(self, stage: str) -> None:
        """Opens the examples."""
        self._open(self.rows(self.train), self.rows(self.validation), self.train.fingerprint)

    def validation_text(self) -> Iterator[bytes]:
        """What the examples are in words."""
        for number in range(EXAMPLES):
            yield " ".join(str(token) for piece in self.validation[number] for token in piece.ids).encode()


class _ToyPreferences(_ToyExamples):
    """Pairs of answers."""

    gives, paired = Trees, True
    shapes = ((1, 5, False), (1, 8, True), (1, 8, True))

    def rows(self, store: Any) -> TreeRows:
        """Each pair is a row."""
        return TreeRows(store, (CHOSEN, REJECTED), self.end_of_document)


class _ToyLabels(_ToyExamples):
    """Labelled texts."""

    gives, classes = LabelledTexts, CLASSES
    shapes = ((1, 9, True),)

    def rows(self, store: Any) -> LabelledRows:
        """Rows of whole texts."""
        return LabelledRows(store, np.arange(len(store)), CONTEXT, self.end_of_document)


class _Texts:
    """Rows of the toy text."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """The rows of these numbers, without targets past the last one."""
        whole = toy_batch(0, EXAMPLES)
        numbers = [index % EXAMPLES for index in indices]
        inputs, targets = whole.inputs[numbers], whole.targets[numbers]
        targets[[index >= EXAMPLES for index in indices]] = IGNORE
        return Batch(inputs, targets, None)


def toy_data(gives: type) -> LightningDataModule:
    """Fresh data whose batches are of this type, one of `TOYS`."""
    return TOYS[gives]()


def toy_rows(gives: type) -> Any:
    """`EXAMPLES` rows or fewer, of which `batch` gives those of some numbers; the others count for nothing."""
    if gives is Batch:
        return _Texts()
    data: Any = toy_data(gives)
    return data.rows(data.train)


TOYS: dict[type, Any] = {Batch: toy_text, Trees: _ToyPreferences, LabelledTexts: _ToyLabels}
"""What makes the data, by the type of its batches."""


def write_start(path: Path, size: Size) -> Path:
    """Writes a checkpoint of a small decoder of this size, and of the toy text's tokenizer."""
    options: dict[str, Any] = {"vocab_size": VOCABULARY, **size._asdict()}
    network = {"class_path": "lmkit.network.Decoder", "init_args": options}
    kept = {
        "recipe": {"plugins": [], "model": {"class_path": "Pretraining", "init_args": {"network": network}}},
        "tokenizer": TOKENIZER.to_str(),
        "end_of_document": END,
    }
    state = {f"network.{name}": tensor for name, tensor in Decoder(**options).state_dict().items()}
    write({"state_dict": state, KEY: kept}, path, "choose another folder")
    return path
