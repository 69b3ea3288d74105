"""Blocks: how attention and feed-forward are wired to the residual stream."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.kinds import At, Attention, FeedForward, Norm


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

    norms: ClassVar[tuple[str, ...]] = ("attention_norm", "feed_forward_norm")
    """The norms that it has, by name."""

    reads_memory: ClassVar[bool] = False
    """Whether it looks at what an encoder has read, so that it works in the decoder of an `EncoderDecoder` only."""

    attention_norm: nn.Module
    attention_out_norm: nn.Module
    feed_forward_norm: nn.Module
    feed_forward_out_norm: nn.Module

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
        for name in self.norms:
            setattr(self, name, norm(dim))
        self.attention = attention
        self.feed_forward = feed_forward
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        for branch in (attention, feed_forward):
            scale_out(branch, self.out_scale(depth))

    @staticmethod
    def out_scale(depth: int) -> float:
        """By what the first values of projections into the stream are multiplied."""
        return (2 * depth) ** -0.5

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


class BranchNorm(Block):
    """Norms what each branch gives (OLMo 2, arXiv:2501.00656, section 3.1)."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention_norm(self.attention(x, at)))
        return x + self.dropout(self.feed_forward_norm(self.feed_forward(x)))


class SandwichNorm(Block):
    """Norms what each branch reads and what it gives (Ding et al. 2021, CogView, arXiv:2105.13290; Gemma 2)."""

    norms = ("attention_norm", "attention_out_norm", "feed_forward_norm", "feed_forward_out_norm")

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention_out_norm(self.attention(self.attention_norm(x), at)))
        return x + self.dropout(self.feed_forward_out_norm(self.feed_forward(self.feed_forward_norm(x))))


class Parallel(Block):
    """Both branches read the same normed stream (GPT-J; PaLM, arXiv:2204.02311, section 2)."""

    norms = ("norm",)
    norm: nn.Module

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        normed = self.norm(x)
        return x + self.dropout(self.attention(normed, at)) + self.dropout(self.feed_forward(normed))


class ParallelTwoNorms(Block):
    """Both branches read the same stream, each by its own norm (GPT-NeoX, arXiv:2204.06745, section 2.1)."""

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        attended = self.dropout(self.attention(self.attention_norm(x), at))
        return x + attended + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


def scale_out(branch: Attention | FeedForward, factor: float) -> None:
    """Multiplies the deviation of the first values of a branch's projection into the stream, and of those of the
    feed-forwards that it is a sum of, such as an expert that a mixture's tokens share.

    Raises:
        UserError: a projection does not carry its deviation.
    """
    inner = (part for part in branch.modules() if isinstance(part, FeedForward) and part is not branch)
    for part in (branch, *inner):
        out: Any = part.out
        if not hasattr(out, "std"):
            raise UserError(
                f"the projection `out` is a {type(out).__name__}, but its start is scaled with the depth, which "
                "needs lmkit.layers.Linear: use that in the layer"
            )
        scale_start(out, factor)


def scale_start(projection: Any, factor: float) -> None:
    """Multiplies the deviation `std` of a projection's first values."""
    projection.std *= factor
    projection.reset_parameters()
