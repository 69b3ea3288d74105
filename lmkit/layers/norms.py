"""Norms: rescale each token's vector so that depth does not change its size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.layers.kinds import Norm


class LayerNorm(Norm):
    """Subtracts the mean and divides by the deviation (Ba et al. 2016, arXiv:1607.06450).

    Args:
        dim: width D, given by the network.
        eps: added to the variance before the root.
        bias: whether a learned offset is added.
    """

    def __init__(self, dim: int, eps: float = 1e-5, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim))
        self.bias = nn.Parameter(torch.empty(dim)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The identity scale."""
        nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class RMSNorm(Norm):
    """Divides by the root of the mean square (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
        dim: width D, given by the network.
        eps: added to the mean square before the root.
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
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)
