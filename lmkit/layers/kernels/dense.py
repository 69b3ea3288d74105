"""Attention of every query to every key, under a mask if not all are seen; and the arithmetic that tiles share."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.layers.autocast import without_autocast
from lmkit.layers.kernels.job import Job
from lmkit.layers.places import places


def dense(job: Job) -> Tensor:
    """(B, H, T, L), for every job."""
    one = job.time == 1 and job.causal  # a last query sees every key
    if job.plain and job.bias is None and job.documents is None and job.window is None and (job.square or one):
        causal = job.causal and not one
        return F.scaled_dot_product_attention(
            job.q, job.k, job.v, is_causal=causal, scale=job.scale, enable_gqa=job.q.size(1) != job.k.size(1)
        )
    mask, bias = job.once("dense", lambda: _mask_and_bias(job))
    k, v = job.grown()  # a mask beside groups leaves CUDA's fast kernels, which costs far more than the copies
    return weigh(job, job.q, k, v, mask, bias)


def weigh(job: Job, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
    """Attention of a tile: queries (B, H, T, K) to keys and values of as many heads, by the job's arithmetic.

    Args:
        job: gives scale, soft cap and sinks.
        q: queries.
        k: keys.
        v: values.
        mask: where a query may look, boolean, broadcast to (B, H, T, S); none for everywhere.
        bias: is added to the scores, broadcast to (B, H, T, S); none for nothing.
    """
    if job.plain:
        if bias is not None:
            mask = bias if mask is None else bias.masked_fill(~mask, float("-inf"))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=job.scale)
    scores = _scores(q, k) * job.scale
    if job.soft_cap is not None:
        scores = job.soft_cap * torch.tanh(scores / job.soft_cap)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    if job.sinks is None:
        return scores.softmax(dim=-1).to(v.dtype) @ v
    sinks = job.sinks.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)  # one more key, of no value
    return torch.cat([scores, sinks], dim=-1).softmax(dim=-1)[..., :-1].to(v.dtype) @ v


def _scores(q: Tensor, k: Tensor) -> Tensor:
    """Products of queries and keys in float32 or wider, in which PyTorch's own kernels hold them too."""
    wide = torch.promote_types(q.dtype, torch.float32)
    with without_autocast(q):
        return q.to(wide) @ k.to(wide).transpose(-1, -2)


def _mask_and_bias(job: Job) -> tuple[Tensor | None, Tensor | None]:
    """Where queries may look (B or 1, 1, T, S), and what is added to the scores (H, T, S)."""
    if job.branches is not None:
        return _of_branches(job)
    keys = torch.arange(job.past, device=job.q.device)
    distance = keys[job.past - job.time :, None] - keys if job.past >= job.time else keys.new_zeros(job.time, job.past)
    hidden = job.causal or job.window is not None
    mask = job.seen(distance)[None, None] if hidden else None
    if job.documents is not None and job.key_documents is not None:
        same = job.documents[:, None, :, None] == job.key_documents[:, None, None, :]
        mask = same if mask is None else mask & same
    return mask, job.biases(distance)


def _of_branches(job: Job) -> tuple[Tensor, Tensor | None]:
    """The same with branches, (B, 1, T, T) and (B, H, T, T): distances are those of positions in the document."""
    assert job.documents is not None
    assert job.branches is not None
    at = places(job.documents, job.branches)
    distance = at[:, :, None] - at[:, None]
    documents, branches = job.documents, job.branches
    within = (branches[:, :, None] == branches[:, None]) | (branches[:, None] == 0)
    mask = job.seen(distance) & within & (documents[:, :, None] == documents[:, None])
    bias = job.biases(distance)
    return mask[:, None], None if bias is None else bias.transpose(0, 1)
