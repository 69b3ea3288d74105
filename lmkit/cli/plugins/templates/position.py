"""Template, a position: write here what it is, who proposed it, when, and under which arXiv number."""

import torch
from torch import Tensor, nn

from lmkit.layers import At, Position


class Template(Position):
    """Lowers each score by a multiple of the root of the distance; each head learns its factor, which stays positive.

    Args:
        dim: unused, given by the network.
        heads: number of heads H, given by the network.
        context: unused, given by the network.
        start: the first value of the factors.
    """

    def __init__(self, dim: int, heads: int, context: int, start: float = 0.0) -> None:
        super().__init__()
        self.start = start
        self.factors = nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The factors before `softplus` makes them positive."""
        nn.init.constant_(self.factors, self.start)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Leaves (B, T, D) as it is; gives the layers the bias."""
        return x, At(bias=self._bias)

    def _bias(self, distance: Tensor) -> Tensor:
        """Distances (T, S), negative where the key is later, to (H, T, S)."""
        factors = nn.functional.softplus(self.factors)[:, None, None]
        return -factors * distance.abs().to(factors.dtype).sqrt()
