"""Data modules that break the contract, each in one way."""

import torch
from torch.utils.data import DataLoader

from lmkit.data.examples.trees import Trees
from lmkit.data.labelled_texts import LabelledTexts
from lmkit.data.stream import loader_settings
from lmkit.testing.toy_data import toy_data
from lmkit.testing.toys import toy_batch, toy_text

Sound = type(toy_text())
SoundPreferences, SoundLabels = (type(toy_data(gives)) for gives in (Trees, LabelledTexts))


class BrokenNumbers(Sound):
    """Does not say where documents end."""

    end_of_document = None


class BrokenBytes(Sound):
    """Yields its text as words."""

    def validation_text(self):
        yield "text"


class BrokenTuple(Sound):
    """Validates on bare tuples."""

    def val_dataloader(self):
        return DataLoader([tuple(toy_batch(1))], **loader_settings(0))


class BrokenIds(Sound):
    """Says that it has fewer ids than it uses."""

    vocab_size_used = 20


class BrokenFallingDocuments(Sound):
    """Numbers documents from the right to the left."""

    def val_dataloader(self):
        batch = toy_batch(1)
        falling = torch.arange(batch.inputs.size(1), 0, -1).expand_as(batch.inputs)
        return DataLoader([batch._replace(documents=falling)], **loader_settings(0))


class BrokenLoader(Sound):
    """Leaves its loader to draw a seed for workers from the global generator."""

    def val_dataloader(self):
        return DataLoader([toy_batch(-1)], batch_size=None)


class BrokenOrder(Sound):
    """Is in an order that the process decides."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.number = self.made

    def val_dataloader(self):
        return DataLoader([toy_batch(self.number)], **loader_settings(0))


class BrokenPlace(Sound):
    """Begins anew whenever it is asked."""

    def first(self):
        return 0


class BrokenPairs(SoundPreferences):
    """Says that its pairs are none."""

    paired = False


class BrokenShort(SoundPreferences):
    """Says that its rows are shorter than they are."""

    def setup(self, stage):
        super().setup(stage)
        self.context = 9


class BrokenClasses(SoundLabels):
    """Has lost the name of a class."""

    classes = ("left", "right")


class BrokenKind(SoundLabels):
    """Says that it gives other batches."""

    gives = Trees
