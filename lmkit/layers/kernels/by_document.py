"""Attention within documents, one after another: no mask at all, and the cost of each document's length squared."""

import torch
from torch import Tensor

from lmkit.layers.kernels.dense import dense
from lmkit.layers.kernels.job import Job
from lmkit.layers.kernels.short_parts import of_short_parts

LEAST = 32
"""The least mean length of documents; with shorter ones the many small calls may cost more than one masked call."""


def can_part(job: Job) -> bool:
    """Whether documents are on the CPU, where their lengths are at hand, and long enough to be worth a call each."""
    if job.documents is None or job.documents is not job.key_documents or job.documents.device.type != "cpu":
        return False
    if job.branches is not None or torch.compiler.is_compiling():  # the calls' number would depend on the data
        return False
    return job.time * job.q.size(0) >= LEAST * sum(map(len, _lengths(job)))


def by_document(job: Job) -> Tensor:
    """(B, H, T, L), for jobs whose queries and keys are the same tokens, of documents that lie together."""
    return of_short_parts(_rows, job, sum(map(len, _lengths(job))))


def _rows(job: Job) -> Tensor:
    rows = zip(*(part.split(1) for part in (job.q, job.k, job.v)), _lengths(job), strict=True)
    return torch.cat([torch.cat(_row(job, *row), dim=2) for row in rows])


def _row(job: Job, q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> list[Tensor]:
    parts = zip(*(part.split(lengths, dim=2) for part in (q, k, v)), strict=True)  # whose backward is one concatenation
    return [dense(job.of_one(*part)) for part in parts]


def _lengths(job: Job) -> list[list[int]]:
    """The lengths of each row's documents."""
    rows = job.documents
    assert rows is not None
    return job.once("lengths", lambda: [torch.unique_consecutive(row, return_counts=True)[1].tolist() for row in rows])
