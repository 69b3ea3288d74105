"""Template, a block: write here what it is, who proposed it, when, and under which arXiv number."""

from collections.abc import Callable

from torch import Tensor

from lmkit.layers import At, Attention, FeedForward, Norm
from lmkit.network import Block


class Template(Block):
    """Norms what each branch reads, and multiplies what it gives.

    Args:
        dim: width D, given by the network.
        depth: number of blocks, given by the network.
        norm: recipe of a norm, given by the network.
        attention: given by the network.
        feed_forward: given by the network.
        dropout: share of each branch's output set to zero in training.
        scale: by which what each branch gives is multiplied.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        norm: Callable[[int], Norm],
        attention: Attention,
        feed_forward: FeedForward,
        dropout: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        super().__init__(dim, depth, norm, attention, feed_forward, dropout)
        self.scale = scale

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.scale * self.dropout(self.attention(self.attention_norm(x), at))
        return x + self.scale * self.dropout(self.feed_forward(self.feed_forward_norm(x)))
