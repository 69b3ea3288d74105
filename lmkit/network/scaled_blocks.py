"""Blocks that weigh their branches against the residual stream, by a fixed number or by learned ones."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lmkit.layers.kinds import At, Attention, FeedForward, Norm
from lmkit.network.block import Block, scale_start


class DepthScaled(Block):
    """Norms what each branch reads, and multiplies what it gives by a number that falls with the root of the depth
    (Hu et al. 2024, MiniCPM, arXiv:2404.06395, table 5; Yang et al. 2023, depth-muP, arXiv:2310.02244).

    Args:
        dim: width D, given by the network.
        depth: number of blocks, given by the network.
        norm: recipe of a norm, given by the network.
        attention: given by the network.
        feed_forward: given by the network.
        dropout: share of each branch's output set to zero in training.
        scale: the number for a depth of 1; MiniCPM's is 1.4.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        norm: Callable[[int], Norm],
        attention: Attention,
        feed_forward: FeedForward,
        dropout: float = 0.0,
        scale: float = 1.4,
    ) -> None:
        super().__init__(dim, depth, norm, attention, feed_forward, dropout)
        self.factor = scale * depth**-0.5

    @staticmethod
    def out_scale(depth: int) -> float:
        """None, for the number does that."""
        return 1.0

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.factor * self.dropout(self.attention(self.attention_norm(x), at))
        return x + self.factor * self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class DeepNorm(Block):
    """Weighs the stream against each branch before norming their sum (Wang et al. 2022, arXiv:2203.00555, figure 2): by
    (2 depth)^(1/4); projections into the stream, and those called `v`, `up` and `gate` (of values, and of what
    feed-forwards read), start smaller by (8 depth)^(-1/4). These are the numbers of a decoder or an encoder alone; the
    paper has others for the two together.

    Args:
        dim: width D, given by the network.
        depth: number of blocks, given by the network.
        norm: recipe of a norm, given by the network.
        attention: given by the network.
        feed_forward: given by the network.
        dropout: share of each branch's output set to zero in training.
    """

    gives_normed = True

    def __init__(
        self,
        dim: int,
        depth: int,
        norm: Callable[[int], Norm],
        attention: Attention,
        feed_forward: FeedForward,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, depth, norm, attention, feed_forward, dropout)
        self.weight = (2 * depth) ** 0.25
        for name, part in [*attention.named_modules(), *feed_forward.named_modules()]:
            if name.rpartition(".")[2] in ("v", "up", "gate") and hasattr(part, "std"):
                scale_start(part, self.out_scale(depth))

    @staticmethod
    def out_scale(depth: int) -> float:
        """The paper's beta."""
        return (8 * depth) ** -0.25

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = self.attention_norm(self.weight * x + self.dropout(self.attention(x, at)))
        return self.feed_forward_norm(self.weight * x + self.dropout(self.feed_forward(x)))


class LayerScale(Block):
    """Norms what each branch reads, and multiplies what it gives by learned numbers, one for each of D (Touvron et al.
    2021, arXiv:2103.17239); with a start of 0 each block begins as the identity (ReZero, arXiv:2003.04887).

    Args:
        dim: width D, given by the network.
        depth: number of blocks, given by the network.
        norm: recipe of a norm, given by the network.
        attention: given by the network.
        feed_forward: given by the network.
        dropout: share of each branch's output set to zero in training.
        start: the first value of the learned numbers; the paper's is 0.1 up to 18 blocks, 1e-5 for 24, 1e-6 beyond.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        norm: Callable[[int], Norm],
        attention: Attention,
        feed_forward: FeedForward,
        dropout: float = 0.0,
        start: float = 0.1,
    ) -> None:
        super().__init__(dim, depth, norm, attention, feed_forward, dropout)
        self.start = start
        self.attention_scale = nn.Parameter(torch.empty(dim))
        self.feed_forward_scale = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All at `start`."""
        for scale in (self.attention_scale, self.feed_forward_scale):
            nn.init.constant_(scale, self.start)

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        attended = self.dropout(self.attention(self.attention_norm(x), at))
        x = x + self.attention_scale.to(x.dtype) * attended
        return x + self.feed_forward_scale.to(x.dtype) * self.dropout(self.feed_forward(self.feed_forward_norm(x)))
