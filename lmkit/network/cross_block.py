"""The block of a decoder that also reads what an encoder has read."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from lmkit.layers.attentions import CrossAttention
from lmkit.layers.kinds import At, Attention, FeedForward, Norm
from lmkit.network.block import Block, scale_out


class CrossPreNorm(Block):
    """Three branches, to the row itself, to the encoder's and by itself, each of which reads a normed stream (T5,
    Raffel et al. 2020, arXiv:1910.10683, section 2.1).

    Args:
        dim: width D, given by the network.
        depth: number of blocks, given by the network.
        norm: recipe of a norm, given by the network.
        attention: given by the network.
        feed_forward: given by the network.
        cross: recipe of the attention to the encoder's states; `heads` has to be named in its parameters.
        dropout: share of each branch's output set to zero in training.
    """

    reads_memory = True
    norms = ("attention_norm", "cross_norm", "feed_forward_norm")
    cross_norm: nn.Module

    def __init__(
        self,
        dim: int,
        depth: int,
        norm: Callable[[int], Norm],
        attention: Attention,
        feed_forward: FeedForward,
        cross: Callable[[int], CrossAttention],
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, depth, norm, attention, feed_forward, dropout)
        self.cross = cross(dim)
        scale_out(self.cross, self.out_scale(depth))

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        there = replace(at, cache=at.cache.part("cross")) if at.cache else at
        x = x + self.dropout(self.attention(self.attention_norm(x), at))
        x = x + self.dropout(self.cross(self.cross_norm(x), there))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
