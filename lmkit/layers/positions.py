"""Positions that are added to the embeddings, and none; see also rotary.py and biases.py."""

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.kinds import At, Position
from lmkit.layers.weights import Embedding


class Learned(Position):
    """Adds a learned vector for each position (GPT-2); positions past `context` do not exist.

    Args:
        dim: width D, given by the network.
        heads: unused, given by the network.
        context: number of positions, given by the network.
    """

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        self.table = Embedding(context, dim)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """(B, T, D) to (B, T, D), with nothing for the layers."""
        return x + self.table(positions), At()


class Sinusoidal(Position):
    """Adds fixed sines and cosines of geometric wavelengths (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

    Args:
        dim: width D, even, given by the network.
        heads: unused, given by the network.
        context: unused, given by the network.
        base: the longest wavelength over 2 pi, in tokens.
        scale: multiplies the vectors; 0.02 matches the size of freshly initialised embeddings.
    """

    def __init__(self, dim: int, heads: int, context: int, base: float = 10000.0, scale: float = 0.02) -> None:
        super().__init__()
        if dim % 2:
            raise UserError(f"Sinusoidal needs an even dim, but dim is {dim}: choose an even one or another position")
        self.dim, self.base, self.scale = dim, base, scale

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """(B, T, D) to (B, T, D), with nothing for the layers."""
        angles = positions.unsqueeze(-1).float() * geometric(self.dim, self.base, positions.device)  # (B, T, D / 2)
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return x + (self.scale * waves).to(x.dtype), At()


class NoPosition(Position):
    """Nothing: a causal network can infer order by itself (Kazemnejad et al. 2023, NoPE, arXiv:2305.19466).

    Args:
        dim: unused, given by the network.
        heads: unused, given by the network.
        context: unused, given by the network.
    """

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Leaves (B, T, D) as it is, with nothing for the layers."""
        return x, At()


def geometric(width: int, base: float, device: torch.device, slower: float | Tensor = 1.0) -> Tensor:
    """Frequencies in radians a token (width / 2): base^(-2i / width) for i from 0 on, over `slower`; in float32."""
    powers = torch.arange(0, width, 2, device=device).float() / width
    return 1.0 / (slower * base**powers)
