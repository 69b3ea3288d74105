"""Gated DeltaNet (Yang et al. 2024, arXiv:2412.06464), as Qwen3-Next uses it: attention whose cost is linear in time
and whose past has one size, however long. What a head has read is a matrix, kept by the gated delta rule.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.delta_rule import delta_rule
from lmkit.layers.heads import join_heads, split_heads, width_of_head
from lmkit.layers.kinds import At, Attention, Norm
from lmkit.layers.norms import RMSNorm
from lmkit.layers.short_convolution import ShortConvolution
from lmkit.layers.weights import Linear


class GatedDeltaNet(Attention):
    """Linear attention by the gated delta rule (Yang et al. 2024, arXiv:2412.06464), as in Qwen3-Next.

    Queries, keys and values pass a short convolution, which also tells the order of neighbours; the rotation and the
    score bias of a position are not used. It reads from left to right only.

    Args:
        dim: width D, given by the network.
        heads: number of heads of queries and keys H, given by the network.
        v_heads: heads of values, of the decay and of the output, a multiple of H; none for H (Qwen3-Next: 2 H).
        head_dim: width of a head of queries and keys K; none for D / H.
        v_head_dim: width of a head of values L; none for K. A head's state has K L numbers.
        conv_width: tokens that the convolution sums, the present one included.
        beta_max: the most of a value that is written at once, above 0 and up to 2; above 1 a state can change its sign
            (Grazzi et al. 2024, arXiv:2411.12537).
        norm: norms what each head has read, before the gate.
        chunk: tokens that are computed at once, which changes the speed only; 32 is the fastest on a CPU.
    """

    hears_position = False
    shards: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("q", "k", "v", "a", "b", "z"), "columns"),
        **dict.fromkeys(("q_conv", "k_conv", "v_conv", "decay.A_log", "decay.dt_bias"), "columns"),
        "out": "rows",
    }

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models, in any combination)
        self,
        dim: int,
        heads: int,
        v_heads: int | None = None,
        head_dim: int | None = None,
        v_head_dim: int | None = None,
        conv_width: int = 4,
        beta_max: float = 1.0,
        norm: Callable[[int], Norm] = RMSNorm,
        chunk: int = 32,
    ) -> None:
        super().__init__()
        v_heads = heads if v_heads is None else v_heads
        self.head_dim = width_of_head(dim, heads, head_dim)
        self.v_head_dim = self.head_dim if v_head_dim is None else v_head_dim
        self.beta_max, self.chunk = beta_max, chunk
        check_options(heads, v_heads, self.v_head_dim, beta_max, chunk)
        keys, values = heads * self.head_dim, v_heads * self.v_head_dim
        self.q, self.k, self.v = Linear(dim, keys), Linear(dim, keys), Linear(dim, values)
        self.q_conv, self.k_conv = ShortConvolution(keys, conv_width), ShortConvolution(keys, conv_width)
        self.v_conv = ShortConvolution(values, conv_width)
        self.a, self.b, self.z = Linear(dim, v_heads), Linear(dim, v_heads), Linear(dim, values)
        self.decay = Decay(v_heads)
        self.norm = norm(self.v_head_dim)
        self.out = Linear(values, dim)

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        check_causal(at.causal)
        state, *pasts = at.cache.state if at.cache is not None and at.cache.state else (None,) * 4
        q, q_past = self.q_conv(self.q(x), pasts[0], at.documents)
        k, k_past = self.k_conv(self.k(x), pasts[1], at.documents)
        v, v_past = self.v_conv(self.v(x), pasts[2], at.documents)
        q, k = (unit(split_heads(F.silu(y), self.head_dim)) for y in (q, k))  # (B, H, T, K)
        v = split_heads(F.silu(v), self.v_head_dim)  # (B, v_heads, T, L)
        q, k = (y.repeat_interleave(v.size(1) // y.size(1), dim=1) for y in (q * self.head_dim**-0.5, k))
        g, beta = self.decay(self.a(x)), self.beta_max * self.b(x).sigmoid()  # (B, T, v_heads)
        y, state = delta_rule(q, k, v, g.mT, beta.mT, state, at.documents, self.chunk)
        if at.cache is not None:
            at.cache.state = (state, q_past.clone(), k_past.clone(), v_past.clone())  # views would hold all tokens
        y = self.norm(y) * F.silu(split_heads(self.z(x), self.v_head_dim))
        return self.out(join_heads(y))


class Decay(nn.Module):
    """The logarithm of what each head keeps of its state from one token to the next, -A softplus(x + dt) (Mamba 2, Dao
    and Gu 2024, arXiv:2405.21060).

    Args:
        heads: number of heads H.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.A_log = nn.Parameter(torch.empty(heads))
        self.dt_bias = nn.Parameter(torch.empty(heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """A uniform up to 16; softplus(dt) log-uniform from 0.001 to 0.1, so that memories are of all lengths."""
        with torch.no_grad():
            self.A_log.uniform_(1e-3, 16).log_()
            self.dt_bias.uniform_(math.log(1e-3), math.log(0.1)).exp_()
            self.dt_bias.copy_(self.dt_bias.expm1().log())  # the inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) to logarithms (B, T, H), at most 0, in float32 or wider."""
        wide = torch.promote_types(x.dtype, torch.float32)
        return -self.A_log.to(wide).exp() * F.softplus(x.to(wide) + self.dt_bias.to(wide))


def unit(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Vectors (..., K) brought to length 1, in float32 or wider."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + eps)


def check_causal(causal: bool) -> None:
    """Looks whether tokens are read from left to right.

    Raises:
        UserError: they are not.
    """
    if not causal:
        raise UserError(
            "GatedDeltaNet reads from left to right, but this network's tokens see those after them too: use it in a "
            "Decoder, and here SelfAttention"
        )


def check_options(heads: int, v_heads: int, v_head_dim: int, beta_max: float, chunk: int) -> None:
    """Looks whether the options of `GatedDeltaNet` make a layer.

    Raises:
        UserError: one does not.
    """
    if v_heads < heads or v_heads % heads:
        raise UserError(
            f"v_heads must be a multiple of heads, but v_heads is {v_heads} and heads is {heads}: "
            f"choose {heads}, {2 * heads} or another multiple"
        )
    if v_head_dim < 1:
        raise UserError(
            f"v_head_dim is {v_head_dim}: give the width of a head, 1 or more, or leave it out for head_dim"
        )
    if not 0 < beta_max <= 2:
        raise UserError(f"beta_max is {beta_max}, but the state is stable above 0 and up to 2 only: 1 is usual")
    if chunk < 1:
        raise UserError(f"chunk is a number of tokens from 1 on, but it is {chunk}: 32 is usual")
