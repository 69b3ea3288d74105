"""Slow, obvious implementations to hold the layers against, one number at a time where that is clearest."""

import math

import torch
from torch import Tensor


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    y = (x - mean) / (variance + eps).sqrt() * weight
    return y if bias is None else y + bias


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / ((x**2).mean(-1, keepdim=True) + eps).sqrt() * weight


def rotate_one(x: list[float], position: int, base: float) -> list[float]:
    """Rotates each pair (i, i + K/2) of a head by position * base^(-2i/K)."""
    width = len(x)
    y = [0.0] * width
    for i in range(width // 2):
        angle = position * base ** (-2 * i / width)
        a, b = x[i], x[i + width // 2]
        y[i] = a * math.cos(angle) - b * math.sin(angle)
        y[i + width // 2] = b * math.cos(angle) + a * math.sin(angle)
    return y


def attention(
    q: Tensor, k: Tensor, v: Tensor, window: int | None, documents: Tensor | None, slopes: list[float] | None
) -> Tensor:
    """Queries (B, H, T, K), keys and values (B, G, T, K): one query, one key at a time."""
    batch, heads, time, width = q.shape
    groups = heads // k.size(1)
    y = torch.zeros_like(q)
    for b in range(batch):
        for h in range(heads):
            for t in range(time):
                seen = [
                    s
                    for s in range(t + 1)
                    if (window is None or t - s < window) and (documents is None or documents[b, s] == documents[b, t])
                ]
                scores = torch.stack([q[b, h, t] @ k[b, h // groups, s] / math.sqrt(width) for s in seen])
                if slopes is not None:
                    scores = scores - torch.tensor([slopes[h] * (t - s) for s in seen], dtype=q.dtype)
                weights = scores.exp() / scores.exp().sum()
                y[b, h, t] = sum(w * v[b, h // groups, s] for w, s in zip(weights, seen, strict=True))
    return y


def l2_norm(x: list[float], scale: float) -> list[float]:
    return [scale * number / math.sqrt(sum(other**2 for other in x)) for number in x]


def plain_frequency(i: int, width: int, base: float) -> float:
    return base ** (-2 * i / width)


def interpolated_frequency(i: int, width: int, base: float, factor: float) -> float:
    return plain_frequency(i, width, base) / factor


def ntk_frequency(i: int, width: int, base: float, factor: float) -> float:
    """The share that pair i has of the factor, in powers: none for the first pair, all for the last."""
    return plain_frequency(i, width, base) * factor ** -(i / (width / 2 - 1))


def yarn_frequency(
    i: int,
    width: int,
    base: float,
    factor: float,
    original_context: float,
    fast: float = 32,
    slow: float = 1,
    truncate: bool = True,
) -> float:
    def pair_that_turns(times: float) -> float:  # original_context * base^(-2 pair / width) = 2 pi times
        return width / 2 * math.log(original_context / (2 * math.pi * times), base)

    first, last = pair_that_turns(fast), pair_that_turns(slow)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    slowed = min(max((i - first) / (last - first), 0), 1)
    plain = plain_frequency(i, width, base)
    return slowed * plain / factor + (1 - slowed) * plain


def llama3_frequency(
    i: int, width: int, base: float, factor: float, low: float, high: float, original_context: float
) -> float:
    plain = plain_frequency(i, width, base)
    wavelength = 2 * math.pi / plain
    if wavelength < original_context / high:
        return plain
    if wavelength > original_context / low:
        return plain / factor
    kept = (original_context / wavelength - low) / (high - low)
    return (1 - kept) * plain / factor + kept * plain


def bucket(distance: int, buckets: int, longest: int, both_ways: bool) -> int:
    """T5's bucket of a query minus a key: the last whose first distance is not above this one."""
    if both_ways:
        half = buckets // 2
        return bucket(abs(distance), half, longest, False) + (half if distance < 0 else 0)
    single = buckets // 2
    starts = [*range(single), *(single * (longest / single) ** (i / single) for i in range(single))]
    return max(number for number, start in enumerate(starts) if start <= max(distance, 0) + 1e-9)
