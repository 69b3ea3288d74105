"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1): keys and values of all heads are made from
one narrow vector a token, the latent, which is all that a cache keeps, beside one rotated key that the heads share.

The same function is computed in two forms. The expanded one makes keys and values out of the latents, once a token: for
training and for a prompt. The absorbed one brings the queries to the latents instead, and what is found there to the
values: for new tokens after a long past, which is then read as it is kept.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.attend import attend
from lmkit.layers.heads import check_window, join_heads, rotate, split_heads
from lmkit.layers.kinds import At, Attention, Norm
from lmkit.layers.norms import RMSNorm
from lmkit.layers.weights import Linear


class LatentAttention(Attention):
    """Softmax attention whose keys and values are made from a narrow latent (DeepSeek-V2, arXiv:2405.04434).

    A token costs kv_rank + rope_dim numbers in the cache, whatever the number of heads.

    Args:
        dim: width D, given by the network.
        heads: number of heads H, given by the network.
        kv_rank: width of the latent C; none for 4 v_dim, the paper's 512 for values of 128.
        q_rank: width of a latent for the queries; none makes them from the stream at once.
        nope_dim: width of the part of queries and keys that is not rotated, of each head its own; none for D / H.
        rope_dim: width of the part that is rotated, whose key all heads share, equal to the width that the position
            rotates; none for D / H, as `Rotary` does unless told otherwise.
        v_dim: width of the values of a head; none for D / H.
        norm: the norm of the latents.
        scale: multiplies the products of queries and keys; none for the root of 1 / (nope_dim + rope_dim). DeepSeek
            multiplies that by the square of YaRN's mscale.
        window: number of tokens a token sees, its own included; none for all.
        bias: whether what reads the stream to make latents and the shared key adds a learned offset, and the
            projection to the stream.
    """

    follows_branches = True
    shards: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models, in any combination)
        self,
        dim: int,
        heads: int,
        kv_rank: int | None = None,
        q_rank: int | None = None,
        nope_dim: int | None = None,
        rope_dim: int | None = None,
        v_dim: int | None = None,
        norm: Callable[[int], Norm] = RMSNorm,
        scale: float | None = None,
        window: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_window(window)
        given = {"kv_rank": kv_rank, "q_rank": q_rank, "nope_dim": nope_dim, "rope_dim": rope_dim, "v_dim": v_dim}
        check_widths(dim, heads, given)
        self.nope_dim, self.rope_dim, self.v_dim = (
            dim // heads if w is None else w for w in (nope_dim, rope_dim, v_dim)
        )
        self.kv_rank = 4 * self.v_dim if kv_rank is None else kv_rank
        self.scale = (self.nope_dim + self.rope_dim) ** -0.5 if scale is None else scale
        self.window = window
        self.q_down = nn.Identity() if q_rank is None else Linear(dim, q_rank, bias)
        self.q_norm = nn.Identity() if q_rank is None else norm(q_rank)
        self.q = Linear(dim if q_rank is None else q_rank, heads * (self.nope_dim + self.rope_dim))
        self.kv_down = Linear(dim, self.kv_rank, bias)
        self.kv_norm = norm(self.kv_rank)
        self.k = Linear(self.kv_rank, heads * self.nope_dim)
        self.v = Linear(self.kv_rank, heads * self.v_dim)
        self.k_rope = Linear(dim, self.rope_dim, bias)
        self.out = Linear(heads * self.v_dim, dim, bias)

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        q = split_heads(self.q(self.q_norm(self.q_down(x))), self.nope_dim + self.rope_dim)
        q_nope, q_rope = q.split([self.nope_dim, self.rope_dim], dim=-1)  # (B, H, T, ...)
        latent = self.kv_norm(self.kv_down(x)).unsqueeze(1)  # (B, 1, T, C)
        q_rope, k_rope = self._turn(q_rope, at), self._turn(self.k_rope(x).unsqueeze(1), at)
        if at.cache is not None:
            latent, k_rope = at.cache.append(latent, k_rope, window=self.window)  # (B, 1, S, ...)
        find = self._absorbed if self._absorbs(x.size(1), latent.size(2)) else self._expanded
        return self.out(join_heads(find(q_nope, q_rope, latent, k_rope, at)))

    def _turn(self, x: Tensor, at: At) -> Tensor:
        """Rotates all of the last dimension.

        Raises:
            UserError: the position rotates another width.
        """
        if at.rotation is None:
            return x
        if (width := at.rotation[0].size(-1)) != self.rope_dim:
            raise UserError(
                f"the position rotates {width} numbers, but rope_dim of LatentAttention is {self.rope_dim}: "
                f"set rope_dim to {width}, or the position's width (of Rotary and its kin) to {self.rope_dim}"
            )
        return rotate(x, *at.rotation)

    def _absorbs(self, time: int, past: int) -> bool:
        """Whether `time` queries of `past` keys need fewer multiplications in the absorbed form: it expands the new
        tokens only, but pays for scores and sums as wide as the latents.
        """
        widths = self.nope_dim + self.v_dim
        saved = (past - time) * self.kv_rank * widths
        paid = time * past * (2 * self.kv_rank + self.rope_dim - widths)
        return past > time and saved > paid

    def _expanded(self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, at: At) -> Tensor:
        """Queries (B, H, T, ...) and all of the past (B, 1, S, ...) to what was found (B, H, T, v_dim)."""
        k = split_heads(self.k(latent.squeeze(1)), self.nope_dim)  # (B, H, S, nope_dim)
        v = split_heads(self.v(latent.squeeze(1)), self.v_dim)
        k = torch.cat([k, k_rope.expand(-1, k.size(1), -1, -1)], dim=-1)
        q = torch.cat([q_nope, q_rope], dim=-1)
        return attend(q, k, v, at, self.window, self.scale)

    def _absorbed(self, q_nope: Tensor, q_rope: Tensor, latent: Tensor, k_rope: Tensor, at: At) -> Tensor:
        """The same, by one head of keys and values: q (K c) = (q K) c for the matrix K of a head and a latent c."""
        to_k = matrix_of(self.k, latent).unflatten(0, (-1, self.nope_dim))  # (H, nope_dim, C)
        to_v = matrix_of(self.v, latent).unflatten(0, (-1, self.v_dim))  # (H, v_dim, C)
        q = torch.cat([q_nope @ to_k, q_rope], dim=-1)  # (B, H, T, C + rope_dim)
        past = torch.cat([latent, k_rope], dim=-1)
        found = attend(q, past, past, at, self.window, self.scale)  # fused kernels want values as wide as keys
        return found[..., : self.kv_rank] @ to_v.transpose(-1, -2)


def matrix_of(project: nn.Module, like: Tensor) -> Tensor:
    """The matrix (outputs, inputs) that a projection multiplies (..., inputs) by: its weight, or, where an adapter, a
    quantised layer or a shard has taken its place, what it makes of the identity.
    """
    if type(project) is Linear and type(project.weight) is nn.Parameter:
        return project.weight
    return project(torch.eye(like.size(-1), dtype=like.dtype, device=like.device)).t()


def check_widths(dim: int, heads: int, given: dict[str, int | None]) -> None:
    """Looks whether widths that were given are some, and whether dim / heads is one where a head's was not.

    Raises:
        UserError: they are not.
    """
    for name, width in given.items():
        if width is not None and width < 1:
            raise UserError(f"{name} is {width}: give a width of 1 or more, or leave it out for its default")
    missing = [name for name in ("nope_dim", "rope_dim", "v_dim") if given[name] is None]
    if heads < 1 or (missing and dim % heads):
        near = ", ".join(str(n) for n in range(1, dim + 1) if dim % n == 0)
        raise UserError(
            f"heads must divide dim, but heads is {heads} and dim is {dim}: choose heads out of {near}, or "
            f"another dim, or give {', '.join(missing)}"
        )
