"""Attentions: how a token reads the tokens before it."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.attend import attend
from lmkit.layers.kinds import At, Attention, Linear, Norm


class SelfAttention(Attention):
    """Softmax attention of many heads (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        dim: width D, given by the network.
        heads: number of heads H, given by the network.
        kv_heads: heads of keys and values: none for H (multi-head), 1 for multi-query (Shazeer 2019,
            arXiv:1911.02150), between them grouped-query (Ainslie et al. 2023, arXiv:2305.13245).
        window: number of tokens a token sees, its own included (Beltagy et al. 2020, arXiv:2004.05150); none for all.
        qk_norm: a norm for the queries and one for the keys (Henry et al. 2020, arXiv:2010.04245); none for none.
        bias: whether the four projections add a learned offset.
    """

    shards: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}

    def __init__(
        self,
        dim: int,
        heads: int,
        kv_heads: int | None = None,
        window: int | None = None,
        qk_norm: Callable[[int], Norm] | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        _check(dim, heads, kv_heads, window)
        self.head_dim, self.window = dim // heads, window
        self.q = Linear(dim, dim, bias)
        self.k = Linear(dim, kv_heads * self.head_dim, bias)
        self.v = Linear(dim, kv_heads * self.head_dim, bias)
        self.out = Linear(dim, dim, bias)
        self.q_norm = qk_norm(self.head_dim) if qk_norm else torch.nn.Identity()
        self.k_norm = qk_norm(self.head_dim) if qk_norm else torch.nn.Identity()

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k, v = (self._heads(project(x)) for project in (self.q, self.k, self.v))  # (B, H, T, K)
        q, k = self.q_norm(q), self.k_norm(k)
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        if at.cache is not None:
            k, v = at.cache.append(k, v)
        y = attend(q, k, v, at, self.window)
        return self.out(y.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, H K) to (B, H, T, K)."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates each pair (i, i + K / 2) of the last dimension of (B, H, T, K)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat([-second, first], dim=-1) * sin.to(x.dtype)


def _check(dim: int, heads: int, kv_heads: int, window: int | None) -> None:
    if heads < 1 or dim % heads:
        near = [n for n in range(1, dim + 1) if dim % n == 0]
        raise UserError(
            f"heads must divide dim, but heads is {heads} and dim is {dim}: "
            f"choose heads out of {', '.join(map(str, near))}, or another dim"
        )
    if kv_heads < 1 or heads % kv_heads:
        near = [n for n in range(1, heads + 1) if heads % n == 0]
        raise UserError(
            f"kv_heads must divide heads, but kv_heads is {kv_heads} and heads is {heads}: "
            f"choose kv_heads out of {', '.join(map(str, near))}"
        )
    if window is not None and window < 1:
        raise UserError(f"window is a number of tokens from 1 on, but it is {window}: leave it out to see all tokens")
