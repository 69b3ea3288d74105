"""Heads for later tokens that break the contract, each in one way."""

import torch
from torch import nn

from lmkit.layers import Linear
from lmkit.network import FurtherHeads, MultiToken


class Residual(FurtherHeads):
    """Is sound: a matrix for each later token; the others are made of it.

    Args:
        network: given by the task.
        count: tokens to predict after the next one.
        weight: of their loss.
    """

    def __init__(self, network, count: int = 2, weight: float = 0.1) -> None:
        super().__init__()
        self.count, self.weight = count, weight
        self.steps = nn.ModuleList(Linear(network.dim, network.dim) for _ in range(count))

    def forward(self, network, hidden, tokens, documents):
        for k, step in enumerate(self.steps, 1):
            yield hidden[:, :-k] + step(hidden[:, :-k])


class BrokenLength(Residual):
    """Leaves places that have nothing to predict."""

    def forward(self, network, hidden, tokens, documents):
        for step in self.steps:
            yield hidden + step(hidden)


class BrokenTimid(Residual):
    """Does not say what its loss weighs.

    Args:
        network: given by the task.
        count: tokens to predict after the next one.
    """

    def __init__(self, network, count: int = 2) -> None:
        super().__init__(network, count)
        self.weight = None


class BrokenPeek(Residual):
    """Adds the very token that is to be predicted, where there is one."""

    def forward(self, network, hidden, tokens, documents):
        documents = torch.zeros_like(tokens) if documents is None else documents
        embedded = network.embedding(tokens)
        for k, seen in enumerate(super().forward(network, hidden, tokens, documents), 1):
            same = documents[:, k + 1 :] == documents[:, : -k - 1]
            target = embedded[:, k + 1 :] * same[..., None]
            yield torch.cat([seen[:, : target.size(1)] + target, seen[:, target.size(1) :]], dim=1)


class BrokenJoined(MultiToken):
    """Reads a packed row as one text."""

    def forward(self, network, hidden, tokens, documents):
        return super().forward(network, hidden, tokens, None)


class BrokenAsking(Residual):
    """Asks a number for its value."""

    def forward(self, network, hidden, tokens, documents):
        for seen in super().forward(network, hidden, tokens, documents):
            yield seen if seen.sum().item() < 1e9 else -seen
