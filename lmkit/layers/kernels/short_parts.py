"""The precision of many short calls: on the CPU, PyTorch's attention of 16-bit numbers spends more on its backward pass
over few tokens than the same in float32.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lmkit.layers.autocast import without_autocast
from lmkit.layers.kernels.job import Job

SHORT = 192
"""Tokens a call, on average, below which float32 is the faster."""


def of_short_parts(kernel: Callable[[Job], Tensor], job: Job, calls: int) -> Tensor:
    """(B, H, T, L) by a kernel that makes so many calls, in the dtype of the queries; computed in float32 or that."""
    dtype = job.q.dtype
    short = job.time * job.q.size(0) < SHORT * calls
    if not (short and job.q.device.type == "cpu" and dtype in (torch.bfloat16, torch.float16)):
        return kernel(job)
    with without_autocast(job.q):
        return kernel(replace(job, q=job.q.float(), k=job.k.float(), v=job.v.float())).to(dtype)
