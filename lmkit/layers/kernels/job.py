"""One call of attention, described apart from how it is computed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True)
class Job:
    """Queries, keys and values, and which query sees which key. Distances are query minus key, in tokens.

    Attributes:
        q: queries (B, H, T, K); where keys are more than queries, these are the last T.
        k: keys (B, G, S, K); each serves H / G heads of the queries.
        v: values (B, G, S, L).
        causal: whether a query sees no later key.
        window: a query sees keys at distances below it; none where that would hide nothing.
        documents: ids of the queries' documents (B, T); none where all are one.
        key_documents: ids of the keys' documents (B, S); none where all are one.
        bias: maps distances (T, S) to what is added to the scores (H, T, S).
        scale: multiplies the products of queries and keys.
        soft_cap: c, by which scores s become c tanh(s / c), before the bias is added.
        sinks: the score of one more key in each head (H), whose value is zero.
        memo: masks of this forward, and what else has no gradient, kept for the layers to come.
        branches: of each token (B, T), where queries and keys are the same, which are causal and have documents: 0 for
            what the branches of a document share, which all see; another is seen by its own only. None for none.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    causal: bool
    window: int | None
    documents: Tensor | None
    key_documents: Tensor | None
    bias: Callable[[Tensor], Tensor] | None
    scale: float
    soft_cap: float | None
    sinks: Tensor | None
    memo: dict[Any, Any]
    branches: Tensor | None = None

    @property
    def time(self) -> int:
        """T."""
        return self.q.size(-2)

    @property
    def past(self) -> int:
        """S."""
        return self.k.size(-2)

    @property
    def square(self) -> bool:
        """Whether queries and keys are the same tokens."""
        return self.time == self.past

    @property
    def plain(self) -> bool:
        """Whether the scores are mere products, as PyTorch's fused kernels want them."""
        return self.soft_cap is None and self.sinks is None

    def of_one(self, q: Tensor, k: Tensor, v: Tensor) -> "Job":
        """The same among tokens of one document, of which the queries are the last."""
        window = self.window if self.window is not None and self.window < k.size(-2) else None
        return replace(self, q=q, k=k, v=v, window=window, documents=None, key_documents=None, branches=None)

    def grown(self) -> tuple[Tensor, Tensor]:
        """Keys and values, repeated so that each serves one head of the queries."""
        times = self.q.size(1) // self.k.size(1)
        if times == 1:
            return self.k, self.v
        return self.k.repeat_interleave(times, dim=1), self.v.repeat_interleave(times, dim=1)

    def seen(self, distance: Tensor) -> Tensor:
        """Where a query may look, by distance alone, boolean, of the same shape."""
        seen = distance >= 0 if self.causal else torch.ones_like(distance, dtype=torch.bool)
        if self.window is not None:
            seen = seen & (distance.abs() < self.window)
        return seen

    def biases(self, distance: Tensor) -> Tensor | None:
        """What is added to the scores at these distances (..., T, S): (H, ..., T, S) in the dtype of the queries."""
        if self.bias is None:
            return None
        least, most = 1 - self.past, self.past - 1  # of no more distances than there are, however many pairs
        table = self.bias(torch.arange(least, most + 1, device=distance.device)[None])[:, 0]  # (H, 2S - 1)
        return table.to(self.q.dtype)[:, (distance - least).clamp(0, most - least)]

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives, made by the first layer of a forward that asks.

        Made anew by each layer that is compiled, for it is compiled alone; and if it has a gradient, for a layer whose
        activations are computed again in the backward pass has to save the same tensors both times.
        """
        if torch.compiler.is_compiling():
            return make()
        apart = self.documents is None, self.branches is None
        key = (key, self.time, self.past, self.window, self.causal, *apart, self.q.dtype)
        if key in self.memo:
            return self.memo[key]
        made = make()
        if not any(isinstance(part, Tensor) and part.requires_grad for part in tree_leaves(made)):
            self.memo[key] = made
        return made
