"""Norms of queries and keys (Henry et al. 2020, arXiv:2010.04245): which of their numbers are normed together, and by
which norm.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.heads import join_heads, split_heads
from lmkit.layers.kinds import Norm

Over = Literal["head", "own", "heads"]
"""See `SelfAttention`."""


def head_norm(norm: Callable[[int], Norm] | None, over: Over, heads: int, head_dim: int) -> nn.Module:
    """What norms that many heads of width `head_dim`, for `NORMED[over]`; nothing if there is no norm."""
    if norm is None:
        return nn.Identity()
    if over == "own":
        return nn.ModuleList(norm(head_dim) for _ in range(heads))
    return norm(head_dim * heads if over == "heads" else head_dim)


def check_over(over: str, norm: Callable[[int], Norm] | None) -> None:
    """Looks whether there is such a way, and a norm for it.

    Raises:
        UserError: there is not.
    """
    if over not in NORMED:
        raise UserError(f"qk_norm_over is {over}: choose {', '.join(NORMED)}")
    if norm is None and over != "head":
        raise UserError(
            f"qk_norm_over is {over}, but there is no qk_norm: give one, such as RMSNorm, or leave both out"
        )


def _one_for_each_head(norm: nn.Module, x: Tensor) -> Tensor:
    return norm(x)


def _their_own(norms: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([norm(head) for norm, head in zip(norms.children(), x.split(1, dim=1), strict=True)], dim=1)


def _all_at_once(norm: nn.Module, x: Tensor) -> Tensor:
    return split_heads(norm(join_heads(x)), x.size(-1))


NORMED: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "head": _one_for_each_head,
    "own": _their_own,
    "heads": _all_at_once,
}
"""How queries or keys (B, H, T, K) are normed."""
