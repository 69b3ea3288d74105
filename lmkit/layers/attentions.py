"""Softmax attentions: how a token reads other tokens of its row, or of what an encoder has read."""

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.attend import attend, attend_to_memory
from lmkit.layers.gates import NoGate, OutputGate
from lmkit.layers.head_norms import NORMED, Over, check_over, head_norm
from lmkit.layers.heads import check_kv_heads, check_window, join_heads, rotate, split_heads, width_of_head
from lmkit.layers.kinds import At, Attention, Norm
from lmkit.layers.weights import Linear


class SelfAttention(Attention):
    """Softmax attention of many heads (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        dim: width D, given by the network.
        heads: number of heads H, given by the network.
        kv_heads: heads of keys and values: none for H (multi-head), 1 for multi-query (Shazeer 2019,
            arXiv:1911.02150), between them grouped-query (Ainslie et al. 2023, arXiv:2305.13245).
        head_dim: width of a head K; none for D / H.
        window: number of tokens a token sees, its own included (Beltagy et al. 2020, arXiv:2004.05150); none for all.
        qk_norm: a norm for the queries and one for the keys (Henry et al. 2020, arXiv:2010.04245); none for none.
        qk_norm_over: `head` for each head by itself, by one norm for all of them; `heads` for all heads of a token as
            one vector (OLMo 2, arXiv:2501.00656, section 3.1); `own` for each head by a norm of its own (StableLM 2
            12B). With the latter two the layer is not cut by heads and has no table `shards`.
        scale: multiplies the products of queries and keys; none for the root of 1 / K.
        soft_cap: c, by which scores s become c tanh(s / c) (Gemma 2, arXiv:2408.00118); none for none.
        sinks: whether each head learns the score of one more key, whose value is zero (gpt-oss, arXiv:2508.10925).
        gated: whether what a head found is multiplied, number by number, with a sigmoid of the input (Qiu et al.
            2025, arXiv:2505.06708).
        bias: whether queries, keys and values add a learned offset.
        out_bias: whether the projection to the stream does; none for as `bias`.
    """

    follows_branches = True
    shards: Mapping[str, str] | None = {
        "q": "columns",
        "k": "columns",
        "v": "columns",
        "sinks": "columns",
        "gate.project": "columns",
        "out": "rows",
    }

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models, in any combination)
        self,
        dim: int,
        heads: int,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        window: int | None = None,
        qk_norm: Callable[[int], Norm] | None = None,
        qk_norm_over: Over = "head",
        scale: float | None = None,
        soft_cap: float | None = None,
        sinks: bool = False,
        gated: bool = False,
        bias: bool = False,
        out_bias: bool | None = None,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        self.head_dim = width_of_head(dim, heads, head_dim)
        check_kv_heads(heads, kv_heads)
        check_window(window)
        check_over(qk_norm_over, qk_norm)
        if soft_cap is not None and soft_cap <= 0:
            raise UserError(f"soft_cap is {soft_cap}: give a score above 0, such as 50, or leave it out for none")
        self.window, self.scale, self.soft_cap = window, scale, soft_cap
        inner = heads * self.head_dim
        self.q = Linear(dim, inner, bias)
        self.k = Linear(dim, kv_heads * self.head_dim, bias)
        self.v = Linear(dim, kv_heads * self.head_dim, bias)
        self.out = Linear(inner, dim, bias if out_bias is None else out_bias)
        self.norm_heads = NORMED[qk_norm_over]
        self.q_norm = head_norm(qk_norm, qk_norm_over, heads, self.head_dim)
        self.k_norm = head_norm(qk_norm, qk_norm_over, kv_heads, self.head_dim)
        self.sinks = nn.Parameter(torch.empty(heads)) if sinks else None
        self.gate = OutputGate(dim, inner) if gated else NoGate()
        if qk_norm_over != "head":
            self.shards = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sinks of score 0."""
        if self.sinks is not None:
            nn.init.zeros_(self.sinks)

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k, v = (split_heads(project(x), self.head_dim) for project in (self.q, self.k, self.v))  # (B, H, T, K)
        q, k = self.norm_heads(self.q_norm, q), self.norm_heads(self.k_norm, k)
        if at.rotation is not None:
            q, k = rotate(q, *at.rotation), rotate(k, *at.rotation)
        q, k = q.to(v.dtype), k.to(v.dtype)  # autocast on CUDA norms in float32
        if at.cache is not None:
            k, v = at.cache.append(k, v, window=self.window)
        y = attend(q, k, v, at, self.window, self.scale, self.soft_cap, self.sinks)
        return self.out(self.gate(join_heads(y), x))


class CrossAttention(Attention):
    """Softmax attention to what an encoder has read, `at.memory` (Vaswani et al. 2017, section 3.2.3).

    Args:
        dim: width D, given by the network.
        heads: number of heads H, given by the network.
        kv_heads: heads of keys and values; none for H.
        head_dim: width of a head K; none for D / H.
        scale: multiplies the products of queries and keys; none for the root of 1 / K.
        bias: whether the four projections add a learned offset.
    """

    reads_memory = True
    hears_position = False
    follows_branches = True
    shards: ClassVar[dict[str, str]] = {"q": "columns", "k": "columns", "v": "columns", "out": "rows"}

    def __init__(
        self,
        dim: int,
        heads: int,
        kv_heads: int | None = None,
        head_dim: int | None = None,
        scale: float | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        self.head_dim, self.scale = width_of_head(dim, heads, head_dim), scale
        check_kv_heads(heads, kv_heads)
        self.q = Linear(dim, heads * self.head_dim, bias)
        self.k = Linear(dim, kv_heads * self.head_dim, bias)
        self.v = Linear(dim, kv_heads * self.head_dim, bias)
        self.out = Linear(heads * self.head_dim, dim, bias)

    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        q = split_heads(self.q(x), self.head_dim)
        k, v = self._read(at)
        return self.out(join_heads(attend_to_memory(q, k, v, at, self.scale)))

    def _read(self, at: At) -> tuple[Tensor, Tensor]:
        """Keys and values (B, G, S, K) of the memory, computed once where there is a cache."""
        if at.memory is None:
            raise UserError("CrossAttention reads what an encoder has read: use it in an EncoderDecoder only")
        if at.cache is not None and at.cache.state:
            k, v = at.cache.state
            return k, v
        k, v = (split_heads(project(at.memory.states), self.head_dim) for project in (self.k, self.v))
        if at.cache is not None:
            at.cache.state = (k, v)
        return k, v
