"""Rotary positions: queries and keys are rotated by where they stand, so that their product knows the distance."""

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.kinds import At, Position, Rotation
from lmkit.layers.positions import geometric


class Rotary(Position):
    """Rotates queries and keys by their positions (Su et al. 2021, arXiv:2104.09864), halves split as in Hugging Face.

    A subclass changes `frequencies`, `angles`, or the `amplitude` of cosines and sines.

    Args:
        dim: width D, given by the network.
        heads: number of heads, given by the network.
        context: unused, given by the network.
        base: the longest wavelength over 2 pi, in tokens.
        width: how many numbers of a head are rotated, even; none for D / H, which is all unless the attention has a
            `head_dim` of its own; less is partial rotary (GPT-NeoX, arXiv:2204.06745).
    """

    amplitude: float = 1.0
    """Multiplies cosines and sines, and so the products of queries and keys by its square."""

    def __init__(self, dim: int, heads: int, context: int, base: float = 10000.0, width: int | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        if width is None and dim % (2 * heads):
            raise UserError(
                f"{name} needs heads of an even width, but dim {dim} over {heads} heads is {dim / heads:g}: "
                f"choose dim as a multiple of {2 * heads}, or another number of heads, or give width"
            )
        if width is not None and (width < 2 or width % 2):
            raise UserError(f"{name} rotates pairs, but width is {width}: give an even number from 2 on")
        if base <= 1:
            raise UserError(f"base of {name} is {base:g}: give a number of tokens above 1, such as 10000")
        self.width, self.base, self.whole = dim // heads if width is None else width, base, width is None

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Leaves (B, T, D) as it is; gives the layers the rotation."""
        angles = self.angles(positions).repeat(1, 1, 2).unsqueeze(1)  # (B, 1, T, R)
        cos, sin = angles.cos() * self.amplitude, angles.sin() * self.amplitude
        return x, At(rotation=Rotation(cos.to(x.dtype), sin.to(x.dtype), self.whole))

    def angles(self, positions: Tensor) -> Tensor:
        """By how much each pair is turned at positions (B or 1, T), in radians (B or 1, T, R / 2), in float32."""
        return positions.unsqueeze(-1).float() * self.frequencies(positions.device)

    def frequencies(self, device: torch.device) -> Tensor:
        """By how much each pair turns a token, in radians (R / 2), in float32."""
        return geometric(self.width, self.base, device)
