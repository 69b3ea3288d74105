"""Dynamic Tanh (Zhu et al. 2025, "Transformers without Normalization", arXiv:2503.10622): a norm without statistics.

Nothing brings the stream to unit size any more, so the paper's language models scale their embeddings by a learned
number (its section on large language models): `embedding_norm: LearnedScale`.
"""

import torch
from torch import Tensor, nn

from lmkit.layers import Norm


class DynamicTanh(Norm):
    """Squashes each number by tanh(alpha x), with one learned alpha, then a learned scale and offset.

    Args:
        dim: width D, given by the network.
        alpha: the first value of the learned slope; the paper's is 0.5.
    """

    def __init__(self, dim: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.start = alpha
        self.alpha = nn.Parameter(torch.empty(1))
        self.weight = nn.Parameter(torch.empty(dim))
        self.bias = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The first slope, scale one, offset zero."""
        nn.init.constant_(self.alpha, self.start)
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        alpha, weight, bias = (p.to(x.dtype) for p in (self.alpha, self.weight, self.bias))
        return torch.tanh(alpha * x) * weight + bias


class LearnedScale(Norm):
    """Multiplies by one learned number, which starts at the root of D: a norm for embeddings.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.start = dim**0.5
        self.scale = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The root of the width."""
        nn.init.constant_(self.scale, self.start)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return x * self.scale.to(x.dtype)
