"""FlexAttention (Dong et al. 2024, arXiv:2412.05496): masks and scores compiled into one CUDA kernel, which skips
blocks that no query of it sees, and never holds a T x T mask.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, create_block_mask, flex_attention

from lmkit.layers.kernels.job import Job


def can_flex(job: Job) -> bool:
    """Whether it is a job for CUDA that PyTorch's own kernels would need a mask or a bias for."""
    special = not job.plain or job.bias is not None or job.documents is not None or job.window is not None
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    return job.q.is_cuda and job.square and special and job.q.dtype in dtypes and job.q.size(-1) >= 16


def flex(job: Job) -> Tensor:
    """(B, H, T, L), for jobs whose queries and keys are the same tokens."""
    mask = job.once("flex", lambda: _blocks(job)) if _hides(job) else None
    table = job.once(("table", job.bias), lambda: _table(job))
    run = flex_attention if torch.compiler.is_compiling() or not job.q.is_cuda else _compiled()
    settings: dict[str, Any] = {"block_mask": mask, "scale": job.scale, "enable_gqa": job.q.size(1) != job.k.size(1)}
    settings["score_mod"] = _scores(job.soft_cap, table, job.past - 1)
    if job.sinks is None:
        return run(job.q, job.k, job.v, **settings)
    y, beside = run(job.q, job.k, job.v, return_aux=AuxRequest(lse=True), **settings)
    # one more key of score s and value zero: all others lose the share exp(s) / (exp(s) + exp(lse)), lse (B, H, T)
    return y * torch.sigmoid(beside.lse - job.sinks[:, None]).unsqueeze(-1).to(y.dtype)


@cache
def _compiled() -> Any:
    return torch.compile(flex_attention, dynamic=False)


def _hides(job: Job) -> bool:
    return job.causal or job.window is not None or job.documents is not None


def _blocks(job: Job) -> BlockMask:
    """Which blocks of keys each block of queries sees."""

    def sees(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = job.seen(query - key)
        if job.documents is not None and job.key_documents is not None:
            seen = seen & (job.documents[b, query] == job.key_documents[b, key])
        return seen

    rows = None if job.documents is None else job.q.size(0)
    return create_block_mask(sees, rows, None, job.time, job.past, device=job.q.device)


def _table(job: Job) -> Tensor | None:
    """The bias of each distance from 1 - S to S - 1 (H, 2S - 1)."""
    if job.bias is None:
        return None
    return job.bias(torch.arange(1 - job.past, job.past, device=job.q.device)[None])[:, 0]


def _scores(soft_cap: float | None, table: Tensor | None, origin: int) -> Any:
    """What becomes of a score; none if nothing does."""
    if soft_cap is None and table is None:
        return None

    def change(score: Tensor, b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
        if soft_cap is not None:
            score = soft_cap * torch.tanh(score / soft_cap)
        return score if table is None else score + table[h, query - key + origin]

    return change
