"""Template, a norm: write here what it is, who proposed it, when, and under which arXiv number."""

import torch
from torch import Tensor, nn

from lmkit.layers import Norm


class Template(Norm):
    """Divides by the mean of the absolute values, then multiplies by learned numbers.

    Args:
        dim: width D, given by the network.
        eps: the least mean that is divided by.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The identity scale."""
        nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        size = x.abs().mean(dim=-1, keepdim=True).clamp(min=self.eps)
        return x / size * self.weight.to(x.dtype)
