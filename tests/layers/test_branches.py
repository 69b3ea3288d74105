"""Attention of documents that branch, against each branch behind its start alone, by the kernel for all jobs."""

import pytest
import torch

from lmkit.layers.attend import KERNELS
from lmkit.layers.kernels import banded, by_branch, by_document, dense, varlen
from lmkit.layers.kernels.job import Job
from lmkit.layers.places import places
from tests.layers.test_attend import bias

H, K, L = 4, 16, 8
TREES = [[[5, 3, 7, 1], [4, 0], [1, 2, 2]], [[0, 4, 3], [2, 9], [3, 1, 1, 1, 1]]]
"""Of each document of each row: tokens that all branches share, and of each branch."""
T = 25


def labels(trees):
    """Documents and branches (B, T)."""
    rows = [
        [(document, branch) for document, tree in enumerate(row) for branch, n in enumerate(tree) for _ in range(n)]
        for row in trees
    ]
    return torch.tensor(rows).unbind(-1)


def continuations(trees):
    """Row, the indices of each branch behind its start, and how many of these are new: the start in the first only."""
    for number, row in enumerate(trees):
        begin = 0
        for tree in row:
            start, *spans = (range(begin + sum(tree[:i]), begin + sum(tree[: i + 1])) for i in range(len(tree)))
            begin += sum(tree)
            for count, span in enumerate(spans):
                yield number, [*start, *span], len(span) + (count == 0) * len(start)


def job(trees=TREES, window=None, biased=False, kv_heads=H, soft_cap=None, sinks=False, values=L):
    torch.manual_seed(0)
    documents, branches = labels(trees)
    q, k, v = (
        torch.randn(*documents.shape, heads, width, dtype=torch.float64).transpose(1, 2).requires_grad_()
        for heads, width in ((H, K), (kv_heads, K), (kv_heads, values))
    )
    scores = torch.randn(H, dtype=torch.float64, requires_grad=True) if sinks else None
    own = bias if biased else None
    return Job(q, k, v, True, window, documents, documents, own, 0.3, soft_cap, scores, {}, branches)


def alone(job, trees=TREES):
    """(B, H, T, L)."""
    rows = {number: [] for number in range(len(trees))}
    for row, index, new in continuations(trees):
        parts = (part[row : row + 1, :, index] for part in (job.q, job.k, job.v))
        rows[row].append(dense.dense(job.of_one(*parts))[:, :, len(index) - new :])
    return torch.cat([torch.cat(parts, dim=2) for parts in rows.values()])


OPTIONS = [
    {},
    {"window": 4},
    {"window": 1},
    {"biased": True},
    {"biased": True, "window": 6},
    {"kv_heads": 2},
    {"kv_heads": 1, "window": 5},
    {"soft_cap": 0.7},
    {"sinks": True, "kv_heads": 2},
    {"sinks": True, "soft_cap": 1.5, "biased": True, "window": 5},
]


def name(options):
    return "-".join(f"{key}={value}" for key, value in options.items()) or "plain"


@pytest.mark.parametrize("options", OPTIONS, ids=name)
@pytest.mark.parametrize("kernel", [dense.dense, by_branch.by_branch], ids=lambda f: f.__name__)
def test_a_kernel_gives_each_branch_behind_its_start_alone(kernel, options):
    one, other = job(**options), job(**options)
    got, expected = kernel(one), alone(other)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    upstream = torch.randn_like(got)
    names = ["q", "k", "v", *(["sinks"] if one.sinks is not None else [])]
    for mine, theirs in zip(
        torch.autograd.grad(got, [getattr(one, part) for part in names], upstream),
        torch.autograd.grad(expected, [getattr(other, part) for part in names], upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


def test_positions_go_on_from_what_all_branches_share():
    documents, branches = labels([[[2, 3, 1], [3, 0], [0, 2, 2], [1, 2, 1, 1]]])
    expected = [0, 1, 2, 3, 4, 2, 0, 1, 2, 0, 1, 0, 1, 0, 1, 2, 1, 1]
    assert places(documents, branches)[0].tolist() == expected
    assert places(documents, torch.zeros_like(branches))[0].tolist() == [*range(6), 0, 1, 2, *range(4), *range(5)]


def test_only_kernels_that_know_branches_take_them(monkeypatch):
    monkeypatch.setattr(by_branch, "LEAST", 1)
    monkeypatch.setattr(by_document, "LEAST", 1)
    monkeypatch.setattr(banded, "LEAST", 1)
    for options in ({}, {"window": 2}, {"kv_heads": 1}):
        made = job(**options)
        assert [kernel for kernel, can in KERNELS if can(made)] == [by_branch.by_branch]
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        assert not [kernel for kernel, can in KERNELS if can(made)]
        monkeypatch.undo()
        assert not [kernel for kernel, can in KERNELS if can(made)]  # branches are too short for a call each
        monkeypatch.setattr(by_branch, "LEAST", 1)
    assert varlen.varlen not in [kernel for kernel, can in KERNELS if can(job())]
