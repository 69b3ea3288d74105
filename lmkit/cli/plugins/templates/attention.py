"""Template, an attention: write here what it is, who proposed it, when, and under which arXiv number."""

from torch import Tensor

from lmkit.layers import At, Attention, Linear, attend, rotate
from lmkit.layers.heads import check_window, join_heads, split_heads, width_of_head


class Template(Attention):
    """Softmax attention of many heads.

    Args:
        dim: width D, given by the network.
        heads: number of heads H, given by the network.
        window: number of tokens a token sees, its own included; none for all.
    """

    follows_branches = True  # because it gives `at` to `attend`, and mixes tokens by nothing else

    def __init__(self, dim: int, heads: int, window: int | None = None) -> None:
        super().__init__()
        check_window(window)
        self.head_dim, self.window = width_of_head(dim, heads), window
        self.q = Linear(dim, dim)
        self.k = Linear(dim, dim)
        self.v = Linear(dim, dim)
        self.out = Linear(dim, dim)  # called so, because the block makes its first values smaller

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k, v = (split_heads(project(x), self.head_dim) for project in (self.q, self.k, self.v))  # (B, H, T, K)
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        if at.cache is not None:  # after the rotation: the cache holds rotated keys
            k, v = at.cache.append(k, v, window=self.window)  # (B, H, S, K)
        return self.out(join_heads(attend(q, k, v, at, self.window)))
