"""Tasks that break the contract, each in one way."""

import random

import torch

from lmkit.data.packing import Batch
from lmkit.tasks import MaskedLanguageModel, Pretraining


class BrokenStates(Pretraining):
    """Does not say how a row goes through its network."""

    def states(self, network, tokens):
        raise NotImplementedError


class BrokenMean(Pretraining):
    """Gives the mean loss."""

    def loss(self, batch):
        loss, count = super().loss(batch)
        return loss / count.clamp(min=1), count


class BrokenCount(Pretraining):
    """Counts all tokens."""

    def loss(self, batch):
        loss, _ = super().loss(batch)
        return loss, torch.tensor(batch.targets.numel())


class BrokenEmpty(Pretraining):
    """Divides by the number of tokens and multiplies again."""

    def loss(self, batch):
        loss, count = super().loss(batch)
        return loss / count * count, count


class BrokenNoGradient(Pretraining):
    """Forgets the embedding, which no loss then moves."""

    def build(self):
        super().build()
        self.beside = torch.nn.Parameter(torch.zeros(3))


class BrokenValidation(MaskedLanguageModel):
    """Reads other tokens for each seed."""

    def loss(self, batch):
        return super().loss(batch._replace(inputs=(batch.inputs + torch.initial_seed() % 3) % 40))


class BrokenRuns(Pretraining):
    """Draws by a generator that no seed of torch reaches, in training."""

    def build(self):
        super().build()
        self.share = random.SystemRandom().random()

    def training_loss(self, batch):
        loss, count, beside = super().training_loss(batch)
        return loss * (1 + self.share), count, beside


class BrokenNumbering(Pretraining):
    """Counts the rows of each batch anew."""

    def predictions(self, outputs, batch, number):
        return super().predictions(outputs, batch, 0)


class BrokenLines(Pretraining):
    """Tells a tensor."""

    def predictions(self, outputs, batch, number):
        return ({"row": number * len(outputs) + row, "loss": loss} for row, loss in enumerate(outputs[:, 0]))


class Pair(Batch):
    """Rows of another form."""


class OtherBatches(Pretraining):
    """Is sound, but takes batches that the kit does not have."""

    def loss(self, batch: Pair):
        raise NotImplementedError
