"""Differential attention (Ye et al. 2024, "Differential Transformer", arXiv:2410.05258): each head looks twice and
subtracts the second look from the first, so that what both see by mistake falls away.

    plugins: [plugins/differential_attention.py]
    model.network.attention: {class_path: DifferentialAttention, init_args: {lambda_init: 0.8}}

The paper's lambda_init grows with the depth, 0.8 - 0.6 exp(-0.3 (l - 1)) for layer l = 1, 2, ...; in a recipe it is the
network's `pattern` that gives each layer its own:

    pattern:
      - attention: {class_path: DifferentialAttention, init_args: {lambda_init: 0.2}}
      - attention: {class_path: DifferentialAttention, init_args: {lambda_init: 0.356}}
"""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers import At, Attention, Norm, RMSNorm, attend, rotate
from lmkit.layers.heads import check_kv_heads, check_window, join_heads, split_heads, width_of_head
from lmkit.layers.weights import Linear


class DifferentialAttention(Attention):
    """The softmax map of one head less lambda times that of its neighbour, over values that the two share.

    A pair of the network's heads, 2i and 2i + 1, is one head of the paper. Queries and keys thus have the width D / H
    that `Rotary` rotates, and the values of a pair twice that width. Weights and cost are those of `SelfAttention`.

    Args:
        dim: width D, given by the network.
        heads: number of heads H of queries, even, given by the network: twice the paper's number.
        kv_heads: heads of keys, even, twice the number of heads of values; none for H.
        window: number of tokens a token sees, its own included; none for all.
        lambda_init: the first value of lambda, in [0, 1); what was found is multiplied by 1 - lambda_init, so that
            gradients are as large as without the subtraction.
        norm: the norm of what a pair found, whose scale all pairs share.
    """

    follows_branches = True
    shards: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}

    def __init__(
        self,
        dim: int,
        heads: int,
        kv_heads: int | None = None,
        window: int | None = None,
        lambda_init: float = 0.8,
        norm: Callable[[int], Norm] = RMSNorm,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        self.head_dim = width_of_head(dim, heads)
        check_kv_heads(heads, kv_heads)
        check_window(window)
        if heads % 2 or kv_heads % 2:
            raise UserError(
                f"DifferentialAttention pairs its heads, but heads is {heads} and kv_heads {kv_heads}: make both even"
            )
        if not 0 <= lambda_init < 1:
            raise UserError(f"lambda_init is {lambda_init}: give 0 or more, but less than 1, such as 0.8")
        self.window, self.lambda_init = window, lambda_init
        self.q = Linear(dim, heads * self.head_dim)
        self.k = Linear(dim, kv_heads * self.head_dim)
        self.v = Linear(dim, kv_heads * self.head_dim)
        self.out = Linear(heads * self.head_dim, dim)
        self.lambda_q1 = nn.Parameter(torch.empty(self.head_dim))
        self.lambda_k1 = nn.Parameter(torch.empty(self.head_dim))
        self.lambda_q2 = nn.Parameter(torch.empty(self.head_dim))
        self.lambda_k2 = nn.Parameter(torch.empty(self.head_dim))
        self.norm = norm(2 * self.head_dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The paper's small numbers, which start lambda near lambda_init."""
        for vector in (self.lambda_q1, self.lambda_k1, self.lambda_q2, self.lambda_k2):
            nn.init.normal_(vector, std=0.1)

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k = split_heads(self.q(x), self.head_dim), split_heads(self.k(x), self.head_dim)  # (B, H, T, K)
        v = split_heads(self.v(x), 2 * self.head_dim)  # (B, H / 2, T, 2K)
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        if at.cache is not None:
            k, v = at.cache.append(k, v, window=self.window)
        first, second = (attend(q[:, i::2], k[:, i::2], v, every_other(at, i), self.window) for i in (0, 1))
        y = self.norm(first - self.weight_of_second().to(second.dtype) * second)  # (B, H / 2, T, 2K)
        return self.out(join_heads((1 - self.lambda_init) * y))

    def weight_of_second(self) -> Tensor:
        """Lambda, a scalar (the paper's equation 2)."""
        first, second = (self.lambda_q1 * self.lambda_k1).sum(), (self.lambda_q2 * self.lambda_k2).sum()
        return first.exp() - second.exp() + self.lambda_init


def every_other(at: At, start: int) -> At:
    """What the heads start, start + 2, ... are told; with masks of their own if the bias differs from head to head."""
    bias = at.bias
    return at if bias is None else replace(at, bias=lambda distance: bias(distance)[start::2], masks={})
