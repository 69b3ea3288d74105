"""Rotary positions made slower, so that a network reads longer rows than those it was trained on.

Each is one answer to which frequencies are lowered and by how much. They may be had from the first step on, too.
"""

import math

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.rotary import Rotary


class RotaryInterpolated(Rotary):
    """Squeezes all positions into the old context (position interpolation, Chen et al. 2023, arXiv:2306.15595).

    Args:
        dim: width D, given by the network.
        heads: number of heads, given by the network.
        context: unused, given by the network.
        factor: how many times longer the context becomes; all frequencies are divided by it.
        base: the longest wavelength over 2 pi before, in tokens.
        width: how many numbers of a head are rotated, even; none for D / H.
    """

    def __init__(
        self, dim: int, heads: int, context: int, factor: float, base: float = 10000.0, width: int | None = None
    ) -> None:
        super().__init__(dim, heads, context, base, width)
        _check_factor(factor)
        self.factor = factor

    def frequencies(self, device: torch.device) -> Tensor:
        """The plain ones over the factor (R / 2)."""
        return super().frequencies(device) / self.factor


class RotaryNTK(Rotary):
    """Raises the base, so that the slowest pair is divided by the factor and the fastest is left (NTK-aware scaling,
    bloc97 2023; described in YaRN, arXiv:2309.00071, section 3.1).

    Hugging Face's `dynamic` of factor f, at a row of L tokens past an old context of O, is this with f L / O - f + 1.

    Args:
        dim: width D, given by the network.
        heads: number of heads, given by the network.
        context: unused, given by the network.
        factor: how many times longer the context becomes.
        base: the longest wavelength over 2 pi before, in tokens.
        width: how many numbers of a head are rotated, R, even, from 4 on; none for D / H.
    """

    def __init__(
        self, dim: int, heads: int, context: int, factor: float, base: float = 10000.0, width: int | None = None
    ) -> None:
        super().__init__(dim, heads, context, base, width)
        _check_factor(factor)
        if self.width < 4:
            raise UserError(f"RotaryNTK tells fast pairs from slow ones, but width is {self.width}: make it 4 or more")
        self.base = base * factor ** (self.width / (self.width - 2))


class RotaryYaRN(Rotary):
    """Divides the slow frequencies by the factor, leaves the fast ones, and ramps between, pair by pair (YaRN, Peng et
    al. 2023, arXiv:2309.00071, and its published code).

    Args:
        dim: width D, given by the network.
        heads: number of heads, given by the network.
        context: the longest row, in tokens, given by the network.
        factor: how many times longer the context becomes.
        original_context: the longest row of the training before, in tokens; none for `context` / `factor`.
        base: the longest wavelength over 2 pi before, in tokens.
        width: how many numbers of a head are rotated, R, even; none for D / H.
        fast: pairs that turn more often than this in the original context are left.
        slow: pairs that turn less often than this are divided by the factor.
        truncate: whether the ramp between them starts and ends at whole pairs; gpt-oss's does not.
        attention_factor: multiplies cosines and sines; none for the paper's 0.1 ln(factor) + 1. DeepSeek's is
            m(mscale) / m(mscale_all_dim), where m(c) is 0.1 c ln(factor) + 1: 1 where both are equal. It multiplies
            the attention's `scale` by the square of m(mscale_all_dim) besides.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models)
        self,
        dim: int,
        heads: int,
        context: int,
        factor: float,
        original_context: int | None = None,
        base: float = 10000.0,
        width: int | None = None,
        fast: float = 32.0,
        slow: float = 1.0,
        truncate: bool = True,
        attention_factor: float | None = None,
    ) -> None:
        super().__init__(dim, heads, context, base, width)
        _check_factor(factor)
        _check_turns("slow", slow, "fast", fast)
        self.original_context = context / factor if original_context is None else original_context
        _check_original(self.original_context)
        first, last = self._pair_that_turns(fast), self._pair_that_turns(slow)
        if truncate:
            first, last = math.floor(first), math.ceil(last)
        self.first, self.last = max(first, 0), min(last, self.width - 1)
        if self.first > self.last:
            raise UserError(
                f"no pair of RotaryYaRN turns between {slow:g} and {fast:g} times in an original_context of "
                f"{self.original_context:g} tokens: correct original_context, or base, which is {base:g}"
            )
        self.factor = factor
        self.amplitude = 0.1 * math.log(factor) + 1 if attention_factor is None else attention_factor

    def frequencies(self, device: torch.device) -> Tensor:
        """The plain ones, the slower the more of them divided by the factor (R / 2)."""
        plain = super().frequencies(device)
        pairs = torch.arange(self.width // 2, device=device).float()
        slowed = ((pairs - self.first) / max(self.last - self.first, 0.001)).clamp(0, 1)
        return plain * (1 - slowed) + plain / self.factor * slowed

    def _pair_that_turns(self, times: float) -> float:
        """Which pair, counted from 0 and between the whole ones, turns so often in the original context."""
        return self.width * math.log(self.original_context / (times * 2 * math.pi)) / (2 * math.log(self.base))


class RotaryLlama3(Rotary):
    """Divides the slow frequencies by the factor, leaves the fast ones, and mixes between, by how often a pair turns
    (Llama 3.1, arXiv:2407.21783, and its published code).

    Args:
        dim: width D, given by the network.
        heads: number of heads, given by the network.
        context: unused, given by the network.
        factor: by what the slow frequencies are divided; 8 in Llama 3.1, 32 in 3.2.
        low: pairs that turn less often than this in the original context are divided by the factor.
        high: pairs that turn more often than this are left.
        original_context: the longest row of the training before, in tokens.
        base: the longest wavelength over 2 pi before, in tokens.
        width: how many numbers of a head are rotated, R, even; none for D / H.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models)
        self,
        dim: int,
        heads: int,
        context: int,
        factor: float = 8.0,
        low: float = 1.0,
        high: float = 4.0,
        original_context: int = 8192,
        base: float = 500000.0,
        width: int | None = None,
    ) -> None:
        super().__init__(dim, heads, context, base, width)
        _check_factor(factor)
        _check_turns("low", low, "high", high)
        _check_original(original_context)
        self.factor, self.low, self.high, self.original_context = factor, low, high, original_context

    def frequencies(self, device: torch.device) -> Tensor:
        """The plain ones, the less often they turn the more of them divided by the factor (R / 2)."""
        plain = super().frequencies(device)
        turns = self.original_context * plain / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return plain * kept + plain / self.factor * (1 - kept)


def _check_factor(factor: float) -> None:
    if factor < 1:
        raise UserError(f"factor is {factor:g}: give how many times longer the context becomes, 1 or more")


def _check_original(context: float) -> None:
    if context <= 0:
        raise UserError(f"original_context is {context:g}: give a number of tokens, that of the training before")


def _check_turns(low_name: str, low: float, high_name: str, high: float) -> None:
    if not 0 < low < high:
        raise UserError(
            f"{low_name} is {low:g} and {high_name} is {high:g}: make {high_name} the greater, both above 0"
        )
