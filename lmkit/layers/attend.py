"""Scaled dot-product attention for every mask that the layers can ask for, by the cheapest kernel that can do it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.layers.kinds import At


def attend(q: Tensor, k: Tensor, v: Tensor, at: At, window: int | None = None) -> Tensor:
    """Causal attention of queries (B, H, T, K) to keys and values (B, G, S, K), S >= T; the queries are the last T.

    Args:
        q: queries, H heads.
        k: keys, G heads; each serves H / G heads of the queries.
        v: values, G heads.
        at: its `bias` is added to the scores; its `documents` are kept apart.
        window: number of keys a query sees, its own included; none for all.

    Returns:
        (B, H, T, K).
    """
    time, past = q.size(-2), k.size(-2)
    grouped = q.size(1) != k.size(1)
    windowed = window is not None and window < past
    square_or_one = time in (past, 1)  # one query sees every key, so that it needs no mask
    if square_or_one and at.bias is None and at.documents is None and not windowed:
        return F.scaled_dot_product_attention(q, k, v, is_causal=time > 1, enable_gqa=grouped)
    if grouped:  # a mask beside groups leaves CUDA's fast kernels, which costs far more than the copies
        k, v = (part.repeat_interleave(q.size(1) // part.size(1), dim=1) for part in (k, v))
    mask = _kept_mask(time, past, at, window if windowed else None, q)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _kept_mask(time: int, past: int, at: At, window: int | None, q: Tensor) -> Tensor:
    """The mask, made by the first layer of a forward that needs it; a compiler merges its making with its use."""
    if torch.compiler.is_compiling():
        return _mask(time, past, at, window, q)
    key = (time, past, window, q.dtype)
    if key not in at.masks:
        at.masks[key] = _mask(time, past, at, window, q)
    return at.masks[key]


def _mask(time: int, past: int, at: At, window: int | None, q: Tensor) -> Tensor:
    """Where a query may look (B or 1, 1, T, S), boolean; with a bias, the bias and minus infinity elsewhere."""
    keys = torch.arange(past, device=q.device)
    distance = keys[past - time :, None] - keys  # (T, S)
    seen = distance >= 0
    if window is not None:
        seen = seen & (distance < window)
    seen = seen[None, None]
    if at.documents is not None:
        seen = seen & (at.documents[:, None, :, None] == at.documents[:, None, None, :])
    if at.bias is None:
        return seen
    return at.bias(distance).to(q.dtype).masked_fill(~seen, float("-inf"))
