"""FlashAttention over documents of any lengths laid end to end (Dao 2023, arXiv:2307.08691), on CUDA: no mask, and no
work between documents.
"""

import torch
from torch import Tensor

from lmkit.layers.kernels.job import Job

WIDEST = 256
"""The widest heads that FlashAttention can do."""
LEAST_CAPABILITY = (8, 0)
"""The CUDA compute capability that it needs."""


def can_vary(job: Job) -> bool:
    """Whether documents are apart, scores are mere products, and the dtype is one of the kernel's."""
    apart = job.documents is not None and job.documents is job.key_documents and job.branches is None
    mere = job.plain and job.bias is None and job.q.size(-1) == job.v.size(-1)
    known = job.q.dtype in (torch.bfloat16, torch.float16) and job.q.size(-1) % 8 == 0 and job.q.size(-1) <= WIDEST
    able = job.q.is_cuda and torch.cuda.get_device_capability(job.q.device) >= LEAST_CAPABILITY
    return apart and mere and known and able and not torch.compiler.is_compiling()  # the lengths depend on the data


def varlen(job: Job) -> Tensor:
    """(B, H, T, L), for jobs whose queries and keys are the same tokens, of documents that lie together."""
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 (it takes a second, for CUDA only)

    rows, time = job.q.size(0), job.time
    starts, longest = job.once("starts", lambda: _starts(job))
    q, k, v = (part.transpose(1, 2).flatten(0, 1) for part in (job.q, *job.grown()))  # (B T, H, K)
    left = -1 if job.window is None else job.window - 1
    right = 0 if job.causal else left
    y = varlen_attn(q, k, v, starts, starts, longest, longest, scale=job.scale, window_size=(left, right))
    assert isinstance(y, Tensor)
    return y.unflatten(0, (rows, time)).transpose(1, 2)


def _starts(job: Job) -> tuple[Tensor, int]:
    """Where each document starts when the rows are laid end to end, and where all end; the longest's length."""
    assert job.documents is not None
    opens = torch.ones_like(job.documents, dtype=torch.bool)
    opens[:, 1:] = job.documents[:, 1:] != job.documents[:, :-1]
    starts = opens.flatten().nonzero().squeeze(1)
    starts = torch.cat([starts, starts.new_tensor([job.documents.numel()])]).to(torch.int32)
    return starts, int(starts.diff().max())
