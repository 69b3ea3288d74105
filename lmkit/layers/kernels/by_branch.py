"""Attention within documents that branch, one branch after another: what the branches share is computed once, and each
reads its keys and values (prefix sharing, Wang and Hegde 2024, arXiv:2410.20305).
"""

from itertools import groupby
from operator import itemgetter

import torch
from torch import Tensor

from lmkit.layers.kernels.dense import dense
from lmkit.layers.kernels.job import Job
from lmkit.layers.kernels.short_parts import of_short_parts
from lmkit.layers.places import firsts

LEAST = 16
"""The least mean number of tokens of a call; with fewer, the many small calls cost more than one masked call."""


def can_branch(job: Job) -> bool:
    """Whether there are branches, and these long enough to be worth a call each."""
    if job.branches is None or torch.compiler.is_compiling():  # the calls' number would depend on the data
        return False
    return job.time * job.q.size(0) >= LEAST * _calls(job)


def by_branch(job: Job) -> Tensor:
    """(B, H, T, L), for jobs with branches."""
    return of_short_parts(_rows, job, _calls(job))


def _rows(job: Job) -> Tensor:
    rows = zip(*(part.split(1) for part in (job.q, job.k, job.v)), _trees(job), strict=True)
    return torch.cat([torch.cat(_row(job, *row), dim=2) for row in rows])


def _row(job: Job, q: Tensor, k: Tensor, v: Tensor, trees: list[list[int]]) -> list[Tensor]:
    """The start of each document with its first branch is one call, each further branch with the start's keys one."""
    lengths = [length for start, first, *others in trees for length in (start + first, *others)]
    parts = zip(*(part.split(lengths, dim=2) for part in (q, k, v)), strict=True)  # whose backward is one concatenation
    found = []
    for start, _, *others in trees:
        q, k, v = next(parts)
        found.append(dense(job.of_one(q, k, v)))
        shared = k[:, :, :start], v[:, :, :start]
        for _ in others:
            q, *own = next(parts)
            found.append(dense(job.of_one(q, *(torch.cat(both, dim=2) for both in zip(shared, own, strict=True)))))
    return found


def _calls(job: Job) -> int:
    return sum(len(tree) - 1 for row in _trees(job) for tree in row)


def _trees(job: Job) -> list[list[list[int]]]:
    """Of each row's documents the lengths of what their branches share and of each branch, or of one of no tokens."""
    documents, branches = job.documents, job.branches
    assert documents is not None
    assert branches is not None
    return job.once("trees", lambda: [_of_row(*row) for row in zip(documents, branches, strict=True)])


def _of_row(documents: Tensor, branches: Tensor) -> list[list[int]]:
    begins, lengths = torch.unique_consecutive(firsts(documents[None], branches[None])[0], return_counts=True)
    parts = zip(documents[begins].tolist(), branches[begins].tolist(), lengths.tolist(), strict=True)
    trees = []
    for _, tree in groupby(parts, key=itemgetter(0)):
        (_, branch, length), *others = tree
        begun = [0, length] if branch else [length]
        trees.append(begun + ([length for _, _, length in others] or [0] * (2 - len(begun))))
    return trees
