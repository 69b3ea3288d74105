"""Rotary positions with one found factor for each pair, of which there are two sets, for short texts and for long ones
(LongRoPE, Ding et al. 2024, arXiv:2402.13753; Phi-3, arXiv:2404.14219, and its published code).
"""

import math

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.positions import geometric
from lmkit.layers.rotary import Rotary


class RotaryLong(Rotary):
    """Divides the frequency of each pair by a number of its own, which is another one in a text that reaches past the
    original context (LongRoPE, arXiv:2402.13753, as in Phi-3 of 128k).

    A text is a row, or a document of it; all of it that is read at once is rotated alike. Decoding with a cache rotates
    each new token by how far the text reaches by then. Where it grows past the original context, the keys that are kept
    stay as they were, rotated by the short factors, as in Hugging Face, whose `generate` alone reads all of the text
    again at the first token past it.

    Args:
        dim: width D, given by the network.
        heads: number of heads, given by the network.
        context: the longest row, in tokens, given by the network.
        short: by what the frequency of each pair is divided in a text within the original context, R / 2 numbers.
        long: the same in a longer one.
        original_context: the longest row of the training before, in tokens.
        base: the longest wavelength over 2 pi before, in tokens.
        width: how many numbers of a head are rotated, R, even; none for D / H.
        attention_factor: multiplies cosines and sines; none for the root of 1 + ln(s) / ln(original_context), where s
            is context / original_context, or 1 if that is less.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models)
        self,
        dim: int,
        heads: int,
        context: int,
        short: list[float],
        long: list[float],
        original_context: int,
        base: float = 10000.0,
        width: int | None = None,
        attention_factor: float | None = None,
    ) -> None:
        super().__init__(dim, heads, context, base, width)
        for name, factors in (("short", short), ("long", long)):
            check_factors(name, factors, self.width // 2)
        if original_context < 2:
            raise UserError(
                f"original_context is {original_context}: give the tokens of the longest row before, 2 or more"
            )
        self.short, self.long, self.original_context = short, long, original_context
        self.follows_branches = context <= original_context  # else a branch decides how its start is rotated
        grown = max(context / original_context, 1.0)
        usual = math.sqrt(1 + math.log(grown) / math.log(original_context))
        self.amplitude = usual if attention_factor is None else attention_factor

    def angles(self, positions: Tensor) -> Tensor:
        """By how much each pair is turned at positions (B or 1, T), in radians (B or 1, T, R / 2), in float32."""
        factors = torch.tensor([self.short, self.long], dtype=torch.float32, device="cpu")
        factors = factors.to(positions.device, non_blocking=True)  # which nothing waits for, nor for the choice
        short, long = geometric(self.width, self.base, positions.device, factors)
        past = last_of_document(positions) >= self.original_context  # (B or 1, T)
        return positions.unsqueeze(-1).float() * torch.where(past.unsqueeze(-1), long, short)


def last_of_document(positions: Tensor) -> Tensor:
    """For each token the last position of its document (B or 1, T); one ends where positions do not rise."""
    time = positions.size(1)
    index = torch.arange(time, device=positions.device)
    closes = torch.ones_like(positions, dtype=torch.bool)
    closes[:, :-1] = positions[:, 1:] <= positions[:, :-1]
    # the nearest token at or after each that closes a document: a running minimum from the right
    nearest = torch.where(closes, index, time).flip(1).cummin(dim=1).values.flip(1)
    return positions.gather(1, nearest)


def check_factors(name: str, factors: list[float], pairs: int) -> None:
    """Looks whether there is one for each pair.

    Raises:
        UserError: there is not, or one is not above 0.
    """
    if len(factors) != pairs:
        raise UserError(f"{name} has {len(factors)} numbers, but {pairs} pairs are rotated: give one for each")
    if min(factors) <= 0:
        raise UserError(f"{name} has {min(factors):g}: give numbers above 0, by which frequencies are divided")
