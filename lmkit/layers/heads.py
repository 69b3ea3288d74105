"""The heads of an attention: how a row becomes many narrow ones and is rotated, and which numbers of heads fit."""

import torch
from torch import Tensor

from lmkit.errors import UserError


def rotate(x: Tensor, cos: Tensor, sin: Tensor, whole: bool = False) -> Tensor:
    """Rotates each pair (i, i + R / 2) of the first R numbers of each head (B, H, T, K).

    Args:
        x: queries or keys.
        cos: (B or 1, 1, T, R).
        sin: (B or 1, 1, T, R).
        whole: whether R has to be K.

    Raises:
        UserError: the heads have fewer than R numbers, or more where all were to be rotated.
    """
    width, there = cos.size(-1), x.size(-1)
    if width > there or (whole and width < there):
        fitting = f"{there}, or to less for a part of them" if there % 2 == 0 else f"{there - 1} or less, for a part"
        raise UserError(
            f"the position rotates {width} numbers of a head, but the attention's have {there}: set the position's "
            f"width (of Rotary and its kin) to {fitting}"
        )
    turned, rest = x[..., :width], x[..., width:]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos.to(x.dtype) + torch.cat([-second, first], dim=-1) * sin.to(x.dtype)
    return torch.cat([turned, rest], dim=-1) if rest.size(-1) else turned


def split_heads(x: Tensor, head_dim: int) -> Tensor:
    """(B, T, H K) to (B, H, T, K)."""
    return x.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, H, T, K) to (B, T, H K)."""
    return x.transpose(1, 2).flatten(2)


def width_of_head(dim: int, heads: int, head_dim: int | None = None) -> int:
    """The width of a head: the one given, or dim / heads.

    Raises:
        UserError: there is none.
    """
    if heads < 1 or (head_dim is None and dim % heads):
        near = [n for n in range(1, dim + 1) if dim % n == 0]
        raise UserError(
            f"heads must divide dim, but heads is {heads} and dim is {dim}: "
            f"choose heads out of {', '.join(map(str, near))}, or another dim, or give head_dim"
        )
    if head_dim is not None and head_dim < 1:
        raise UserError(f"head_dim is {head_dim}: give the width of a head, 1 or more, or leave it out for dim / heads")
    return dim // heads if head_dim is None else head_dim


def check_kv_heads(heads: int, kv_heads: int) -> None:
    """Looks whether each head of keys serves equally many heads of queries.

    Raises:
        UserError: it does not.
    """
    if kv_heads < 1 or heads % kv_heads:
        near = [n for n in range(1, heads + 1) if heads % n == 0]
        raise UserError(
            f"kv_heads must divide heads, but kv_heads is {kv_heads} and heads is {heads}: "
            f"choose kv_heads out of {', '.join(map(str, near))}"
        )


def check_window(window: int | None) -> None:
    """Looks whether a window lets a token see itself.

    Raises:
        UserError: it does not.
    """
    if window is not None and window < 1:
        raise UserError(f"window is a number of tokens from 1 on, but it is {window}: leave it out to see all tokens")
