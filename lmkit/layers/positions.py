"""Positions: how a network learns the order of its tokens."""

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.kinds import At, Embedding, Position


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
        angles = _angles(positions, self.dim, self.base)
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return x + (self.scale * waves).to(x.dtype), At()


class Rotary(Position):
    """Rotates queries and keys by their positions (Su et al. 2021, arXiv:2104.09864), halves split as in Hugging Face.

    Args:
        dim: width D, given by the network.
        heads: number of heads, given by the network.
        context: unused, given by the network.
        base: the longest wavelength over 2 pi, in tokens.
    """

    def __init__(self, dim: int, heads: int, context: int, base: float = 10000.0) -> None:
        super().__init__()
        if dim % (2 * heads):
            raise UserError(
                f"Rotary needs heads of an even width, but dim {dim} over {heads} heads is {dim / heads:g}: "
                f"choose dim as a multiple of {2 * heads}, or another number of heads"
            )
        self.head_dim, self.base = dim // heads, base

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Leaves (B, T, D) as it is; gives the layers the rotation."""
        angles = _angles(positions, self.head_dim, self.base)
        angles = torch.cat([angles, angles], dim=-1).unsqueeze(1)  # (B, 1, T, K)
        return x, At(rotation=(angles.cos().to(x.dtype), angles.sin().to(x.dtype)))


class ALiBi(Position):
    """Lowers each score in proportion to the distance (Press et al. 2021, arXiv:2108.12409).

    Args:
        dim: unused, given by the network.
        heads: number of heads, given by the network; each has its slope.
        context: unused, given by the network.
    """

    def __init__(self, dim: int, heads: int, context: int) -> None:
        super().__init__()
        self.slopes = _alibi_slopes(heads)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Leaves (B, T, D) as it is; gives the layers the bias."""
        # bfloat16 cannot tell 256 tokens from 257
        slopes = torch.tensor(self.slopes, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        return x, At(bias=lambda distance: -slopes[:, None, None] * distance)


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


def _angles(positions: Tensor, dim: int, base: float) -> Tensor:
    """Positions (B, T) to angles (B, T, dim / 2): frequency i is base^(-2i / dim); in float32."""
    powers = torch.arange(0, dim, 2, device=positions.device).float() / dim
    return positions.unsqueeze(-1).float() * (1.0 / base**powers)


def _alibi_slopes(heads: int) -> list[float]:
    """2^(-8i / heads) for i = 1..heads; past a power of two, every other slope of the next one (the paper's code)."""
    whole = 2 ** (heads.bit_length() - 1)
    slopes = [2 ** (-8 * (i + 1) / whole) for i in range(whole)]
    return slopes + [2 ** (-4 * (i + 1) / whole) for i in range(0, 2 * (heads - whole), 2)]
