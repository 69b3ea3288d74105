"""Attention of a few new tokens to a long past whose keys several heads share: the queries of those heads become rows
of one product, so that no key or value is copied for each head (Shazeer 2019, arXiv:1911.02150, section 3).
"""

import torch
from torch import Tensor

from lmkit.layers.kernels.dense import weigh
from lmkit.layers.kernels.job import Job

WIDEST = 256
"""The widest heads whose keys CUDA's own kernels share without copies."""


def can_share(job: Job) -> bool:
    """Whether heads share keys, and the new tokens are so few that masks of all rows are smaller than copied keys."""
    shared = job.q.size(1) != job.k.size(1) and job.sinks is None and job.documents is None
    few = job.time < min(job.past, job.q.size(-1))
    return shared and few and not (job.q.is_cuda and job.q.size(-1) <= WIDEST)


def shared_keys(job: Job) -> Tensor:
    """(B, H, T, L), for jobs without documents and sinks."""
    heads = job.q.size(1) // job.k.size(1)
    q = job.q.unflatten(1, (-1, heads)).flatten(2, 3)  # (B, G, H / G T, K)
    mask, bias = job.once(("shared_keys", heads), lambda: _mask_and_bias(job, heads))
    y = weigh(job, q, job.k, job.v, mask, bias)
    return y.unflatten(2, (heads, -1)).flatten(1, 2)


def _mask_and_bias(job: Job, heads: int) -> tuple[Tensor | None, Tensor | None]:
    """Where the rows of a group may look (H / G T, S), and what is added to their scores (G, H / G T, S)."""
    keys = torch.arange(job.past, device=job.q.device)
    distance = keys[job.past - job.time :, None] - keys  # (T, S)
    hidden = (job.causal and job.time > 1) or job.window is not None
    mask = job.seen(distance).repeat(heads, 1) if hidden else None
    bias = job.biases(distance)
    return mask, None if bias is None else bias.unflatten(0, (-1, heads)).flatten(1, 2)
