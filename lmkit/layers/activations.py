"""Activations: the elementwise functions inside a feed-forward."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from lmkit.layers.kinds import Activation


class GELU(Activation):
    """The input times the normal distribution function of it (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    Args:
        approximate: `none` for the exact function, `tanh` for GPT-2's approximation.
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return F.gelu(x, approximate=self.approximate)


class QuickGELU(Activation):
    """The input times the sigmoid of `slope` times it: the cheaper one of the two approximations of GELU that its paper
    gives (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2).

    Args:
        slope: multiplies what the sigmoid sees.
    """

    def __init__(self, slope: float = 1.702) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x * F.sigmoid(self.slope * x)


class SiLU(Activation):
    """The input times its own sigmoid (Elfwing et al. 2017, arXiv:1702.03118)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return F.silu(x)


class ReLU(Activation):
    """The positive part (Nair and Hinton 2010)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return F.relu(x)


class ReLUSquared(Activation):
    """The square of the positive part (So et al. 2021, Primer, arXiv:2109.08668)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return F.relu(x).square()
