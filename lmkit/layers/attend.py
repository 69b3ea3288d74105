"""Softmax attention through one function, by the cheapest kernel that can do what a layer asks on its device."""

from torch import Tensor

from lmkit.layers.kernels.banded import banded, can_band
from lmkit.layers.kernels.by_branch import by_branch, can_branch
from lmkit.layers.kernels.by_document import by_document, can_part
from lmkit.layers.kernels.dense import dense
from lmkit.layers.kernels.flex import can_flex, flex
from lmkit.layers.kernels.job import Job
from lmkit.layers.kernels.shared_keys import can_share, shared_keys
from lmkit.layers.kernels.varlen import can_vary, varlen
from lmkit.layers.kinds import At

KERNELS = (
    (varlen, can_vary),
    (flex, can_flex),
    (by_branch, can_branch),
    (banded, can_band),
    (by_document, can_part),
    (shared_keys, can_share),
)
"""Each kernel with the question whether it can do a job well; the first that can does it, and else `dense`."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    at: At,
    window: int | None = None,
    scale: float | None = None,
    soft_cap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of queries (B, H, T, K) to keys (B, G, S, K) and values (B, G, S, L); the queries are the last T.

    Args:
        q: queries, H heads.
        k: keys, G heads; each serves H / G heads of the queries.
        v: values, G heads.
        at: says whether it is `causal`; its `bias` is added to the scores; its `documents` and `branches` are kept
            apart.
        window: number of tokens a query sees to its left, its own included (and to its right, if not causal); none
            for all.
        scale: multiplies the products of queries and keys; none for the root of 1 / K.
        soft_cap: c, by which scores s become c tanh(s / c) (Gemma 2, arXiv:2408.00118); none for none.
        sinks: for each head the score of one more key, whose value is zero (gpt-oss, arXiv:2508.10925); none for none.

    Returns:
        (B, H, T, L).

    Raises:
        ValueError: there are branches, but no documents, later tokens are seen, or there is a past.
    """
    if at.branches is not None and not (at.causal and at.documents is not None and q.size(-2) == k.size(-2)):
        raise ValueError("branches are those of documents that are causal and read at once: give no others")
    window = window if window is not None and window < k.size(-2) else None
    scale = q.size(-1) ** -0.5 if scale is None else scale
    parts = at.documents, at.documents, at.bias, scale, soft_cap, sinks, at.masks, at.branches
    job = Job(q, k, v, at.causal, window, *parts)
    return choose(job)


def attend_to_memory(q: Tensor, k: Tensor, v: Tensor, at: At, scale: float | None = None) -> Tensor:
    """Attention of queries (B, H, T, K) to all that an encoder has read, (B, G, S, K) and (B, G, S, L), of the same
    documents; of all that is not padding where the queries are of one text a row: (B, H, T, L).
    """
    scale = q.size(-1) ** -0.5 if scale is None else scale
    read, written = at.memory.documents if at.memory else None, at.documents
    if read is None:
        written = None
    elif written is None:
        read, written = read.clamp(max=0), read.new_zeros(q.size(0), q.size(2))
    return dense(Job(q, k, v, False, None, written, read, None, scale, None, None, {}))


def choose(job: Job) -> Tensor:
    """Does a job by the first kernel that can."""
    return next((kernel for kernel, can in KERNELS if can(job)), dense)(job)
