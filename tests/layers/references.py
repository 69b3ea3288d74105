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
