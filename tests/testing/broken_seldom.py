"""Layers that break the contract where one seldom looks: in training, in long rows, in later rows, in one dtype."""

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.layers import MLP, Activation, At, Norm, SelfAttention, attend, rotate
from lmkit.layers.heads import join_heads, split_heads


class Centred(Norm):
    """Is sound; the others are made of it.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (x.size(-1),))


class BrokenTrainingMean(Centred):
    """Subtracts the mean of the row in training."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(1, keepdim=True) if self.training and x.dim() == 3 else x)


class BrokenTrainingMask(SelfAttention):
    """Looks ahead in training."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, causal=at.causal and not self.training))


class BrokenTrainingDocuments(SelfAttention):
    """Looks into earlier documents in training."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, documents=None) if self.training else at)


class BrokenLongTrainingDocuments(SelfAttention):
    """Looks into earlier documents in training, where rows are long."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, documents=None) if self.training and x.size(1) > 64 else at)


class TwiceInTraining(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, training):
        ctx.factor = 2 if training else 1
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return ctx.factor * gradient, None


class BrokenTrainingGradient(Activation):
    """Gives twice the gradient in training."""

    def forward(self, x: Tensor) -> Tensor:
        return TwiceInTraining.apply(F.gelu(x), self.training)


class BrokenLongMean(Centred):
    """Subtracts the mean of rows of more than 16 tokens."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(1, keepdim=True) if x.dim() == 3 and x.size(1) > 16 else x)


class BrokenStatistic(MLP):
    """Divides by the size of whole chunks of 32 tokens."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        whole = y.size(1) // 32 * 32
        chunks = y[:, :whole].unflatten(1, (-1, 32))
        chunks = chunks / chunks.square().mean((2, 3), keepdim=True).sqrt()
        return torch.cat([chunks.flatten(1, 2), y[:, whole:]], dim=1)


class BrokenVeryLong(SelfAttention):
    """Adds the mean of rows of more than 160 tokens."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        y = super().forward(x, at)
        return y + x.mean(1, keepdim=True) if x.size(1) > 160 else y


class BrokenLongGradient(SelfAttention):
    """Hands the gradient of each token to those before it in long rows, though not its value."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        y, mean = super().forward(x, at), x.mean(1, keepdim=True)
        return y + mean - mean.detach() if x.size(1) > 64 else y


class BrokenNextRow(Centred):
    """Adds the row before to each in training."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + F.pad(y, (0, 0, 0, 0, 1, 0))[:-1] if self.training and x.dim() == 3 else y


class BrokenRowNumber(Activation):
    """Multiplies each row by its number in training."""

    def forward(self, x: Tensor) -> Tensor:
        numbers = torch.arange(1, x.size(0) + 1, dtype=x.dtype, device=x.device)
        return F.gelu(x) * numbers.view(-1, *[1] * (x.dim() - 1)) if self.training else F.gelu(x)


class BrokenOtherRow(MLP):
    """Lets each row but the first see the one before it, in training."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return torch.cat([y[:1], y[1:] + y[:-1]]) if self.training else y


class BrokenCacheRows(SelfAttention):
    """Gives what it gives for the first row to all rows, when there is a cache and more than two rows."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        y = super().forward(x, at)
        return y[:1].expand_as(y) if at.cache is not None and x.size(0) > 2 else y


class BrokenCacheDtype(SelfAttention):
    """Gives nothing in bfloat16, when there is a cache."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, at) * (at.cache is None or x.dtype != torch.bfloat16)


class BrokenOwnCache(SelfAttention):
    """Keeps the past in itself, of the cache that it saw last."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        q, k, v = (split_heads(project(x), self.head_dim) for project in (self.q, self.k, self.v))
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        if at.cache is not None:
            if getattr(self, "cache", None) is at.cache:
                k, v = (torch.cat(pair, dim=2) for pair in zip(self.past, (k, v), strict=True))
            self.cache, self.past = at.cache, (k, v)
        return self.out(join_heads(attend(q, k, v, at, self.window)))


class BrokenRoom(SelfAttention):
    """Keeps twice the window."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        q, k, v = (split_heads(project(x), self.head_dim) for project in (self.q, self.k, self.v))
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        if at.cache is not None:
            k, v = at.cache.append(k, v, window=2 * self.window if self.window else None)
        return self.out(join_heads(attend(q, k, v, at, self.window)))


class BrokenWider(SelfAttention):
    """Sees one token more than its window.

    Args:
        dim: width D, given by the network.
        heads: number of heads H, given by the network.
        window: number of tokens a token sees, it says.
    """

    more = 1

    def __init__(self, dim: int, heads: int, window: int | None = None) -> None:
        super().__init__(dim, heads, window=window and window + self.more)


class BrokenNarrower(BrokenWider):
    """Sees one token fewer than its window."""

    more = -1


class BrokenInPlace(Centred):
    """Changes its input, when no gradients are wanted."""

    def forward(self, x: Tensor) -> Tensor:
        root = (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return x / root if torch.is_grad_enabled() else x.div_(root)


class BrokenNoGrad(Activation):
    """Takes another formula, when no gradients are wanted."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, approximate="none" if torch.is_grad_enabled() else "tanh")


class BrokenSingle(Activation):
    """Is too large in each dtype but float64."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x) * (1 if x.dtype == torch.float64 else 1.5)


class BrokenSingleGradient(Activation):
    """Gives twice the gradient in each dtype but float64, in training."""

    def forward(self, x: Tensor) -> Tensor:
        return TwiceInTraining.apply(F.gelu(x), self.training and x.dtype != torch.float64)


class BrokenView(Centred):
    """Takes what lies in a row in memory only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(-1, x.size(-1))).view(x.shape)


class BrokenTypo(MLP):
    """Has a table with names within its parts that they do not have."""

    shards: ClassVar[dict[str, str]] = {"up": "columns", "out": "rows", "out.wieght": "rows"}


class BrokenGateName(SelfAttention):
    """Has a table with a wrong name within a part that an option adds."""

    shards: ClassVar[dict[str, str]] = {**SelfAttention.shards, "gate.projection": "columns"}


class BrokenWarmUp(Activation):
    """Grows with the number of its forwards in training."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += self.training
        return F.gelu(x) * (min(1.0, self.forwards / 100) if self.training else 1)


class BrokenDeaf(SelfAttention):
    """Takes no notice of where tokens stand.

    Args:
        dim: width D, given by the network.
        heads: number of heads H, given by the network.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, rotation=None, bias=None, masks={}))


class BrokenOneWay(BrokenDeaf):
    """Never looks at what comes later."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return SelfAttention.forward(self, x, replace(at, causal=True, masks={}))
