"""Layers that break the contract, each in one way; what must be found is in test_broken.py."""

import random
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers import Activation, At, FeedForward, Norm, Position, RMSNorm, Rotary, SelfAttention, attend, rotate
from lmkit.layers.heads import join_heads, split_heads
from lmkit.layers.weights import Linear
from lmkit.network import Block, PreNorm


class BrokenOptions(Norm):
    """Hides its options.

    Args:
        dim: width D, given by the network.
        kwargs: whatever.
    """

    def __init__(self, dim: int, **kwargs: float) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


class BrokenHelp(BrokenOptions):
    """Says nothing of its option.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int, slope: float = 1.0) -> None:
        super().__init__(dim)


class BrokenDtype(Activation):
    """Gives float32 whatever came."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float()


class BrokenShape(Norm):
    """Loses the last dimension.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True)


class BrokenConstant(Activation):
    """Meets bfloat16 with a constant of float32."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.ones(1, dtype=torch.float32, device=x.device)


class BrokenNowhere(FeedForward):
    """Is sound; the others are made of it.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.up, self.out = Linear(dim, 2 * dim), Linear(2 * dim, dim, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.up(x).sigmoid())


class BrokenAutocast(BrokenNowhere):
    """Copies bfloat16 into float32, under autocast only."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x).index_copy_(1, torch.arange(x.size(1), device=x.device), super().forward(x))


class BrokenFuture(SelfAttention):
    """Looks ahead."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, causal=False))


class BrokenChunk(SelfAttention):
    """Looks ahead within chunks of 64 tokens, when there are more than one."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        y = super().forward(x, at)
        return y if x.size(1) <= 64 else torch.cat([part + part.mean(1, keepdim=True) for part in y.split(64, 1)], 1)


class BrokenGradientLeak(SelfAttention):
    """Hands the gradient of each token to all that come before it, though not its value."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        mean = x.mean(1, keepdim=True)
        return super().forward(x, at) + mean - mean.detach()


class BrokenRows(Norm):
    """Is a batch norm in training.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0) if self.training else x


class BrokenRowsAlways(SelfAttention):
    """Subtracts the mean of the rows."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        y = super().forward(x, at)
        return y - 0.5 * y.mean(0)


class BrokenDocuments(SelfAttention):
    """Looks into other documents."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, documents=None))


class BrokenLongDocuments(SelfAttention):
    """Looks into other documents where rows are long."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, at if x.size(1) < 64 else replace(at, documents=None))


class BrokenBranches(SelfAttention):
    """Lets branches of a document see each other, though it says that it follows them."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, branches=None))


class BrokenOffset(SelfAttention):
    """Counts positions from 0 in every forward, whatever came before."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        own = Rotary(self.q.in_features, self.q.out_features // self.head_dim, 16)
        _, told = own(x, torch.arange(x.size(1), device=x.device)[None])
        return super().forward(x, replace(at, rotation=told.rotation))


class BrokenForgetting(SelfAttention):
    """Keeps three past tokens though it attends to all."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        q, k, v = (split_heads(project(x), self.head_dim) for project in (self.q, self.k, self.v))
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        if at.cache is not None:
            k, v = at.cache.append(k, v, window=4)
        return self.out(join_heads(attend(q, k, v, at)))


class BrokenWindow(SelfAttention):
    """Keeps all past tokens though it sees a window of them."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        q, k, v = (split_heads(project(x), self.head_dim) for project in (self.q, self.k, self.v))
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        if at.cache is not None:
            k, v = at.cache.append(k, v)
        return self.out(join_heads(attend(q, k, v, at, self.window)))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class BrokenGradient(Activation):
    """Gives twice the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return Doubled.apply(x)


class BrokenDetached(RMSNorm):
    """Lets no gradient through a factor, which sums of outputs do not show."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return (1 - 0.1 * y.detach()) * y


class BrokenNoReset(Norm):
    """Has a parameter that nothing fills.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class BrokenReset(BrokenNoReset):
    """Is filled in another way than it is made."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.scale)


class BrokenDead(BrokenNoReset):
    """Has a parameter that it does not use."""

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class BrokenBuffer(Norm):
    """Draws a table that is not saved.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.empty(dim), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table.to(x.dtype)


class BrokenTensor(Norm):
    """Keeps a tensor that is no buffer.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.tables = [torch.ones(dim, device="cpu")]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.tables[0].to(x.dtype)


class BrokenRandom(Activation):
    """Draws by a generator that no seed of torch reaches, in training."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + random.random()) if self.training else x


class BrokenNoise(Activation):
    """Adds noise, and more than one forward's worth of it, out of training too."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class BrokenBreak(Activation):
    """Steps out of the compiler."""

    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return x


class BrokenTable(BrokenNowhere):
    """Has a table that cuts the wrong dimension."""

    shards: ClassVar[dict[str, str]] = {"up": "columns", "out": "columns"}


class BrokenNames(BrokenNowhere):
    """Has a table of another layer's names."""

    shards: ClassVar[dict[str, str]] = {"up": "columns", "down": "rows"}


class BrokenHeads(SelfAttention):
    """Splits heads by their number, not by -1."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        q, k, v = (project(x).unflatten(-1, (4, -1)).transpose(1, 2) for project in (self.q, self.k, self.v))
        return self.out(join_heads(attend(q, k, v, replace(at, bias=None, cache=None))))


class BrokenBranch(Activation):
    """Turns around where a number is large, which nobody knows on meta."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.abs().max() < 1e9 else -x


class BrokenPosition(Position):
    """Adds the mean of the row to the embeddings.

    Args:
        dim: unused, given by the network.
        heads: unused, given by the network.
        context: unused, given by the network.
    """

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        return x + x.mean(1, keepdim=True), At()


class BrokenBlock(PreNorm):
    """Forgets the cache."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return super().forward(x, replace(at, cache=None))


class BrokenUnused(Block):
    """Leaves its feed-forward out."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        return x + self.attention(self.attention_norm(x), at)


class BrokenSmall(Norm):
    """Is sound, but at widths from 64 on only.

    Args:
        dim: width D, given by the network.
        least: the least width.
    """

    def __init__(self, dim: int, least: int = 64) -> None:
        super().__init__()
        if dim < least:
            raise UserError(f"dim is {dim}, but {least} or more is needed: raise it")

    def forward(self, x: Tensor) -> Tensor:
        return x
