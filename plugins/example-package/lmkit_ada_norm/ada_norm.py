"""AdaNorm (Xu et al. 2019, "Understanding and Improving Layer Normalization", arXiv:1911.07013, section 4).

Scale and offset of a LayerNorm are left out, because they overfit; in their place each number y of the normalised
vector is multiplied by c (1 - k y), which no gradient passes through.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers import Norm


class AdaNorm(Norm):
    """Normalises to mean 0 and deviation 1, then damps large numbers; it learns nothing.

    Args:
        dim: width D, given by the network.
        scale: c, by which all numbers are multiplied.
        damping: k, by which numbers are multiplied less the larger they are; the paper's is 0.1.
        eps: added to the variance before the root.
    """

    known_to_fail: ClassVar[dict[str, str]] = {"gradients": "the paper lets no gradient pass through the factor"}
    """Checks of `lmkit plugins check` that fail by design, each with the reason."""

    def __init__(self, dim: int, scale: float = 1.0, damping: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        if scale <= 0 or damping < 0:
            raise UserError(f"scale is {scale} and damping {damping}: give a scale above 0 and a damping of 0 or more")
        self.dim, self.scale, self.damping, self.eps = dim, scale, damping, eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        y = F.layer_norm(x, (self.dim,), eps=self.eps)
        return self.scale * (1 - self.damping * y.detach()) * y
