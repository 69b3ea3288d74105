"""Positions by biases: what is added to the score of a query and a key depends on how far they are apart."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.kinds import At, Position
from lmkit.layers.weights import Embedding


class ALiBi(Position):
    """Lowers each score in proportion to the distance (Press et al. 2021, arXiv:2108.12409), in both directions alike.

    Args:
        dim: unused, given by the network.
        heads: number of heads, given by the network; each has its slope.
        context: unused, given by the network.
    """

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        self.slopes = _alibi_slopes(heads)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Leaves (B, T, D) as it is; gives the layers the bias."""
        # bfloat16 cannot tell 256 tokens from 257
        slopes = torch.tensor(self.slopes, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        return x, At(bias=lambda distance: -slopes[:, None, None] * distance.abs())


class RelativeBias(Position):
    """Adds a learned number for each head and range of distances (T5, Raffel et al. 2020, arXiv:1910.10683, section
    2.1). T5's attention has `scale: 1`.

    Half of the ranges, or buckets, hold one distance each, from 0 on; the others grow geometrically up to `longest`.

    Args:
        dim: unused, given by the network.
        heads: number of heads H, given by the network.
        context: unused, given by the network.
        buckets: number of ranges.
        longest: from this distance on, in tokens, all are alike.
        both_ways: whether half of the buckets are for later keys, as in an encoder; else those share the bucket of
            distance 0, for a causal network does not look there.
    """

    def __init__(
        self, dim: int, heads: int, context: int, buckets: int = 32, longest: int = 128, both_ways: bool = False
    ) -> None:
        super().__init__()
        self.both_ways, self.ways = both_ways, 2 if both_ways else 1
        if buckets < 2 * self.ways or buckets % (2 * self.ways):
            raise UserError(f"buckets is {buckets}, but RelativeBias needs a multiple of {2 * self.ways}: change it")
        self.one_way = buckets // self.ways
        if longest <= self.one_way // 2:
            raise UserError(
                f"longest is {longest} tokens, but the first {self.one_way // 2} distances have a bucket each: "
                "raise longest or lower buckets"
            )
        self.longest = longest
        self.table = Embedding(buckets, heads)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Leaves (B, T, D) as it is; gives the layers the bias."""
        table = self.table.weight
        return x, At(bias=lambda distance: F.embedding(self.buckets(distance), table).movedim(-1, 0))

    def buckets(self, distance: Tensor) -> Tensor:
        """Query minus key, in tokens, to the number of its bucket, of the same shape."""
        single = self.one_way // 2
        later = (distance < 0).long() * (self.one_way * (self.ways - 1))
        far = distance.abs() if self.ways == 2 else distance.clamp(min=0)
        # in float32 and in this order, because trained tables know Hugging Face's rounding at a bucket's edge
        grown = torch.log(far.clamp(min=single).float() / single) / math.log(self.longest / single)
        wide = single + (grown * (self.one_way - single)).long()
        return later + torch.where(far < single, far, wide.clamp(max=self.one_way - 1))


def _alibi_slopes(heads: int) -> list[float]:
    """2^(-8i / heads) for i = 1..heads; past a power of two, every other slope of the next one (the paper's code)."""
    whole = 2 ** (heads.bit_length() - 1)
    slopes = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    return slopes + [2 ** (-4 * (i + 1) / whole) for i in range(0, 2 * (heads - whole), 2)]
