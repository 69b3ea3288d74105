"""Blocks: how attention and feed-forward are wired to the residual stream."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.kinds import At, Attention, FeedForward, Linear, Norm


class Block(nn.Module, ABC):
    """One attention and one feed-forward; a kind: each wiring is a subclass.

    Args:
        dim: width D, given by the network.
        depth: number of blocks, given by the network: projections into the stream start smaller by the root of their
            number, 2 depth, so that the stream starts equally large at every depth (GPT-2).
        norm: recipe of a norm, given by the network.
        attention: given by the network.
        feed_forward: given by the network.
        dropout: share of each branch's output set to zero in training.
    """

    gives_normed: ClassVar[bool] = False
    """Whether the stream that leaves the block is normed, so that the network adds no norm before its head."""

    def __init__(
        self,
        dim: int,
        depth: int,
        norm: Callable[[int], Norm],
        attention: Attention,
        feed_forward: FeedForward,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm = norm(dim)
        self.attention = attention
        self.feed_forward_norm = norm(dim)
        self.feed_forward = feed_forward
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        for out in (attention.out, feed_forward.out):
            if not isinstance(out, Linear):
                raise UserError(
                    f"the projection `out` is a {type(out).__name__}, but its start is scaled with the depth, which "
                    "needs lmkit.layers.Linear: use that in the layer"
                )
            out.std /= (2 * depth) ** 0.5
            out.reset_parameters()

    @abstractmethod
    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""


class PreNorm(Block):
    """Norms what each branch reads (GPT-2; Xiong et al. 2020, arXiv:2002.04745)."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), at))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class PostNorm(Block):
    """Norms the stream after each branch (Vaswani et al. 2017, arXiv:1706.03762)."""

    gives_normed = True

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, at)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class SandwichNorm(Block):
    """Norms what each branch reads and what it gives (Ding et al. 2021, CogView, arXiv:2105.13290)."""

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
        self.attention_out_norm = norm(dim)
        self.feed_forward_out_norm = norm(dim)

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention_out_norm(self.attention(self.attention_norm(x), at)))
        return x + self.dropout(self.feed_forward_out_norm(self.feed_forward(self.feed_forward_norm(x))))
