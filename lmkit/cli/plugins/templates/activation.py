"""Template, an activation: write here what it is, who proposed it, when, and under which arXiv number."""

import torch
from torch import Tensor, nn

from lmkit.layers import Activation


class Template(Activation):
    """The input times the sigmoid of its multiple, whose factor is learned.

    Args:
        start: the first value of the factor.
    """

    def __init__(self, start: float = 1.0) -> None:
        super().__init__()
        self.start = start
        self.factor = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The factor as it starts."""
        nn.init.constant_(self.factor, self.start)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x * torch.sigmoid(self.factor.to(x.dtype) * x)
