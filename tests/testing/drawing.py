"""Sound layers that draw random numbers in training, one of each kind: nothing must be found in them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.layers import (
    MLP,
    Activation,
    At,
    FeedForward,
    Norm,
    Position,
    RMSNorm,
    Routing,
    SelfAttention,
    SoftmaxRouter,
    rotate,
)
from lmkit.layers.heads import join_heads, split_heads
from lmkit.layers.weights import Linear
from lmkit.network import PreNorm


class DroppedFeedForward(FeedForward):
    """Drops what it gives, by a module.

    Args:
        dim: width D, given by the network.
        rate: share that is dropped.
    """

    def __init__(self, dim: int, rate: float = 0.1) -> None:
        super().__init__()
        self.up, self.out = Linear(dim, 2 * dim), Linear(2 * dim, dim)
        self.dropout = nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.out(F.gelu(self.up(x))))


class DroppedByFunction(MLP):
    """Drops what it gives, by a function."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.1, self.training)


class DroppedNorm(RMSNorm):
    """Drops what it gives."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(super().forward(x), 0.1, self.training)


class NoisyNorm(Norm):
    """Multiplies with noise in training.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x, (x.size(-1),))
        return y * (1 + 0.1 * torch.randn_like(y)) if self.training else y


class RandomSlope(Activation):
    """Has random slopes below 0 in training (RReLU)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rrelu(x, training=self.training)


class DroppedScores(SelfAttention):
    """Drops weights of the attention."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        if not self.training:
            return super().forward(x, at)
        q, k, v = (split_heads(project(x), self.head_dim) for project in (self.q, self.k, self.v))
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        ages = torch.arange(x.size(1), device=x.device)[:, None] - torch.arange(x.size(1), device=x.device)
        hidden = (ages < 0)[None]
        if self.window is not None:
            hidden = hidden | (ages >= self.window)
        if at.documents is not None:
            hidden = hidden | (at.documents[:, :, None] != at.documents[:, None])
        scores = q @ k.transpose(-1, -2) * self.head_dim**-0.5
        if at.bias is not None:
            scores = scores + at.bias(ages)
        weights = scores.masked_fill(hidden[:, None], float("-inf")).softmax(-1)
        return self.out(join_heads(F.dropout(weights.to(v.dtype), 0.1) @ v))


class DroppedBlock(PreNorm):
    """Drops both branches.

    Args:
        dim: width D, given by the network.
        depth: number of blocks, given by the network.
        norm: recipe of a norm, given by the network.
        attention: given by the network.
        feed_forward: given by the network.
        dropout: share of each branch's output that is set to zero.
    """

    def __init__(self, dim, depth, norm, attention, feed_forward, dropout: float = 0.1) -> None:
        super().__init__(dim, depth, norm, attention, feed_forward, dropout)


class DroppedEmbedding(Position):
    """Drops embeddings.

    Args:
        dim: unused, given by the network.
        heads: unused, given by the network.
        context: unused, given by the network.
    """

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        return self.dropout(x), At()


class NoisyRouter(SoftmaxRouter):
    """Chooses by what it sees through noise, in training."""

    def forward(self, x: Tensor) -> Routing:
        return super().forward(x * (1 + 0.01 * torch.randn_like(x)) if self.training else x)
