"""FlexAttention (Dong et al. 2024, arXiv:2412.05496): masks and scores compiled into one CUDA kernel, which skips
blocks that no query of it sees, and never holds a T x T mask.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import AuxRequest, BlockMask, flex_attention

from lmkit.layers.kernels.job import Job

BLOCK = 128
"""Queries and keys of a block that is skipped as a whole, or not: PyTorch's default."""


def can_flex(job: Job) -> bool:
    """Whether it is a job for CUDA that PyTorch's own kernels would need a mask or a bias for, and of a length that
    comes again: each is compiled by itself, prompts and rows of branches are of any, and after eight PyTorch compiles
    no more.
    """
    special = not job.plain or job.bias is not None or job.documents is not None or job.window is not None
    dtypes = (torch.float32, torch.bfloat16, torch.float16)
    again = job.branches is None and (torch.is_grad_enabled() or job.time % BLOCK == 0)
    return job.q.is_cuda and job.square and special and again and job.q.dtype in dtypes and job.q.size(-1) >= 16


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

    some, all_ = (part[:, None] for part in _seen_blocks(job))  # (B or 1, 1, N, N)
    partly, wholly = _listed(some & ~all_), _listed(all_)
    return BlockMask.from_kv_blocks(*partly, *wholly, BLOCK, sees, seq_lengths=(job.time, job.past))


def _seen_blocks(job: Job) -> tuple[Tensor, Tensor]:
    """Of which blocks of keys each block of queries may see some, and of which all (B or 1, N, N): found from their
    distances and documents, for PyTorch's `create_block_mask` makes the mask of T x T and looks.
    """
    number = -(-job.past // BLOCK)
    starts = torch.arange(number, device=job.q.device) * BLOCK
    far = starts[:, None] - starts  # of the first query and the first key
    least, most = far - (BLOCK - 1), far + (BLOCK - 1)
    reach = job.past if job.window is None else job.window
    low = 0 if job.causal else 1 - reach
    some, all_ = (most >= low) & (least < reach), (least >= low) & (most < reach)
    filled = starts + BLOCK <= job.past
    all_ = all_ & filled[:, None] & filled
    if job.documents is None:
        return some[None], all_[None]
    ends = (starts + BLOCK - 1).clamp(max=job.past - 1)
    first, last = job.documents[:, starts], job.documents[:, ends]  # which never fall along a row
    meets = (first[:, :, None] <= last[:, None]) & (first[:, None] <= last[:, :, None])
    one = (first == last)[:, :, None] & (first == last)[:, None] & (first[:, :, None] == first[:, None])
    return some & meets, all_ & one


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """A table of blocks (B, 1, N, N) as the number of those in each row, and their columns, these first."""
    order = blocks.to(torch.int8).argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32), order.to(torch.int32)


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
        if table is None:
            return score
        return score + table[h, query - key + origin]

    return change
