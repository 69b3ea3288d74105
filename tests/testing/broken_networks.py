"""Networks that break the contract, each in one way."""

from typing import Any

import torch
from torch import nn

from lmkit.layers.weights import Linear
from lmkit.network import Decoder, Encoder, Network


class Bag(Network):
    """Is sound, and no transformer: the mean of the embeddings so far.

    Args:
        vocab_size: number of token ids V.
        context: the longest row of tokens.
        dim: width D.
    """

    causal = True

    def __init__(self, vocab_size: int, context: int, dim: int) -> None:
        super().__init__()
        self.vocab_size, self.context, self.dim = vocab_size, context, dim
        self.embedding = nn.Embedding(vocab_size, dim)
        self.head = Linear(dim, vocab_size)

    def forward(self, tokens):
        counts = torch.arange(1, tokens.size(1) + 1, device=tokens.device)[:, None]
        return self.embedding(tokens).cumsum(dim=1) / counts

    def logits(self, hidden):
        return hidden @ self.head_weight.mT

    @property
    def head_weight(self):
        return self.head.weight


class BrokenLogits(Bag):
    """Gives logits of whole rows only."""

    def logits(self, hidden):
        return torch.einsum("btd,vd->btv", hidden, self.head_weight)


class BrokenContext(Bag):
    """Does not say its context."""

    context = property(lambda self: None, lambda self, value: None)


class BrokenHead(Decoder):
    """Norms within its logits."""

    def logits(self, hidden):
        return super().logits(self.norm(hidden))


class BrokenBatch(Bag):
    """Adds the mean of the rows."""

    def forward(self, tokens):
        x = super().forward(tokens)
        return x + x.mean(0)


class BrokenPacking(Decoder):
    """Reads a packed row as one text."""

    def forward(self, tokens, documents=None, **more: Any):
        return super().forward(tokens, **more)


class BrokenCausal(Encoder):
    """Says that it is causal and looks ahead."""

    def read(self, *arguments: Any, **at: Any):
        self.causal = False
        hidden = super().read(*arguments, **at)
        self.causal = True
        return hidden


BrokenCausal.causal = True


class BrokenPast(Decoder):
    """Forgets what it has read."""

    def forward(self, tokens, documents=None, cache=None, memory=None):
        return super().forward(tokens, documents, None, memory)


class BrokenOnMeta(Bag):
    """Asks a token for its value."""

    def forward(self, tokens):
        return super().forward(tokens) * (1 if tokens[0, 0].item() >= 0 else 0)
