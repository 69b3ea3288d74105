"""Every kernel of attention against one obvious computation in float64, forward and backward."""

from itertools import product

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask

from lmkit.layers import At, attend
from lmkit.layers.attend import choose
from lmkit.layers.kernels import banded, by_document, dense, flex, varlen
from lmkit.layers.kernels.job import Job

B, H, K, L = 2, 4, 16, 8
DOCUMENTS = [[5, 1, 12, 9], [3, 24]]  # lengths; their sum is T
T = 27


def bias(distance):
    """Of no symmetry, learned as T5's, one for each head."""
    slopes = torch.linspace(0.1, 0.4, H, dtype=torch.float64)[:, None, None]
    return slopes * torch.sin(distance.double() * 0.3) - 0.05 * slopes * distance


def ids(device="cpu"):
    rows = [torch.repeat_interleave(torch.arange(len(row)), torch.tensor(row)) for row in DOCUMENTS]
    return torch.stack(rows).to(device)


def job(causal=True, window=None, documents=False, biased=False, kv_heads=H, soft_cap=None, sinks=False, values=L):
    torch.manual_seed(0)
    q = torch.randn(B, H, T, K, dtype=torch.float64, requires_grad=True)
    k = torch.randn(B, kv_heads, T, K, dtype=torch.float64, requires_grad=True)
    v = torch.randn(B, kv_heads, T, values, dtype=torch.float64, requires_grad=True)
    own = ids() if documents else None
    scores = torch.randn(H, dtype=torch.float64, requires_grad=True) if sinks else None
    return Job(q, k, v, causal, window, own, own, bias if biased else None, 0.3, soft_cap, scores, {})


def obvious(job):
    """All scores at once, minus infinity where a query may not look."""
    times = H // job.k.size(1)
    k, v = (torch.stack([part[:, head // times] for head in range(H)], 1) for part in (job.k, job.v))
    scores = torch.einsum("bhtk,bhsk->bhts", job.q, k) * job.scale
    if job.soft_cap:
        scores = job.soft_cap * torch.tanh(scores / job.soft_cap)
    if job.bias:
        scores = scores + bias(torch.arange(T)[:, None] - torch.arange(T))
    for t, s in product(range(T), range(T)):
        hidden = (job.causal and s > t) or (job.window is not None and abs(t - s) >= job.window)
        for b in range(B):
            if hidden or (job.documents is not None and job.documents[b, t] != job.documents[b, s]):
                scores[b, :, t, s] = float("-inf")
    weights = scores.exp()
    total = weights.sum(-1, keepdim=True)
    if job.sinks is not None:
        total = total + job.sinks.exp()[:, None, None]
    return torch.einsum("bhts,bhsl->bhtl", weights / total, v)


OPTIONS = [
    {},
    {"causal": False},
    {"window": 5},
    {"window": 5, "causal": False},
    {"window": 1},
    {"documents": True},
    {"documents": True, "causal": False},
    {"documents": True, "window": 4},
    {"documents": True, "window": 4, "causal": False, "kv_heads": 2},
    {"biased": True},
    {"biased": True, "window": 6, "documents": True},
    {"biased": True, "causal": False, "window": 6},
    {"kv_heads": 2},
    {"kv_heads": 1, "window": 7},
    {"kv_heads": 1, "documents": True},
    {"soft_cap": 0.7},
    {"soft_cap": 0.7, "window": 5, "kv_heads": 2},
    {"sinks": True},
    {"sinks": True, "window": 5, "kv_heads": 2},
    {"sinks": True, "documents": True, "soft_cap": 1.5, "biased": True},
]


def name(options):
    return "-".join(f"{key}={value}" for key, value in options.items()) or "plain"


@pytest.mark.parametrize("options", OPTIONS, ids=name)
@pytest.mark.parametrize("kernel", [dense.dense, banded.banded, by_document.by_document], ids=lambda f: f.__name__)
def test_a_kernel_is_the_obvious_computation(kernel, options, monkeypatch):
    monkeypatch.setattr(banded, "LEAST", 4)  # else a row of 27 tokens is one tile
    if kernel is banded.banded and "window" not in options:
        pytest.skip("is for windows")
    if kernel is by_document.by_document and "documents" not in options:
        pytest.skip("is for documents")
    one, other = job(**options), job(**options)
    got, expected = kernel(one), obvious(other)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    upstream = torch.randn_like(got)
    leaves = [(one.q, other.q), (one.k, other.k), (one.v, other.v), (one.sinks, other.sinks)]
    leaves = [pair for pair in leaves if pair[0] is not None]
    for mine, theirs in zip(
        torch.autograd.grad(got, [pair[0] for pair in leaves], upstream),
        torch.autograd.grad(expected, [pair[1] for pair in leaves], upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("options", OPTIONS, ids=name)
@torch.no_grad()
def test_flex_attention_is_the_obvious_computation(options):
    """Uncompiled, which the CPU can do forward only; tests/test_gpu.py has the rest."""
    made = job(**options)
    plain = {"q": made.q.float(), "k": made.k.float(), "v": made.v.float()}
    sinks = None if made.sinks is None else made.sinks.float()
    rest = [made.causal, made.window, made.documents, made.key_documents, made.bias, made.scale, made.soft_cap]
    got = flex.flex(Job(*plain.values(), *rest, sinks, {}))
    torch.testing.assert_close(got.double(), obvious(made), rtol=0, atol=2e-6)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 1, 100, 128, 129, 300])
@pytest.mark.parametrize("time", [27, 128, 300, 512])
def test_blocks_are_found_as_by_looking_at_every_pair(time, window, causal):
    q = torch.empty(2, 1, time, 16)
    cut = (torch.rand(time, generator=torch.Generator().manual_seed(time)) < 0.01).long().cumsum(0)
    for documents in (None, torch.stack([cut, torch.arange(time) // 128])):
        if window is not None and window >= time:
            continue
        made = Job(q, q, q, causal, window, documents, documents, None, 1.0, None, None, {})

        def sees(b, h, query, key, made=made):
            seen = made.seen(query - key)
            return seen if made.documents is None else seen & (made.documents[b, query] == made.documents[b, key])

        got = flex._blocks(made)
        looked = create_block_mask(sees, None if documents is None else 2, None, time, time, device="cpu")
        assert torch.equal(got.to_dense(), looked.to_dense())
        assert torch.equal(got.full_kv_num_blocks, looked.full_kv_num_blocks)
        for row in torch.cartesian_prod(*map(torch.arange, got.full_kv_num_blocks.shape)).tolist():
            number = int(got.full_kv_num_blocks[tuple(row)])
            mine, theirs = (blocks.full_kv_indices[tuple(row)][:number] for blocks in (got, looked))
            assert torch.equal(mine, theirs)


def test_documents_are_found_in_rows_laid_end_to_end():
    starts, longest = varlen._starts(job(documents=True))
    assert starts.tolist() == [0, 5, 6, 18, 27, 30, 54]
    assert longest == 24


def chosen(monkeypatch, made):
    """The kernel that `choose` takes."""
    taken = []
    for module, kernel in ((dense, "dense"), (banded, "banded"), (by_document, "by_document")):
        plain = getattr(module, kernel)
        table = choose.__globals__
        fake = lambda job, plain=plain, kernel=kernel: taken.append(kernel) or plain(job)  # noqa: E731
        if kernel == "dense":
            monkeypatch.setitem(table, "dense", fake)
        else:
            kernels = [(fake if do is plain else do, can) for do, can in table["KERNELS"]]
            monkeypatch.setitem(table, "KERNELS", tuple(kernels))
    choose(made)
    return taken[0]


@pytest.mark.parametrize(
    ("options", "least", "kernel"),
    [
        ({}, 4, "dense"),
        ({"window": 5}, 4, "banded"),
        ({"window": 5}, 64, "dense"),  # the row is shorter than two tiles
        ({"window": 14}, 4, "dense"),
        ({"documents": True}, 4, "by_document"),
        ({"documents": True}, 64, "dense"),  # the documents are too short for a call each
        ({"documents": True, "window": 5}, 4, "banded"),
        ({"biased": True}, 4, "dense"),
    ],
)
def test_the_cheapest_kernel_is_chosen(monkeypatch, options, least, kernel):
    monkeypatch.setattr(banded, "LEAST", least)
    monkeypatch.setattr(by_document, "LEAST", least)
    assert chosen(monkeypatch, job(**options)) == kernel


@pytest.mark.parametrize("window", [None, 3, 40])
@pytest.mark.parametrize("past", [0, 7, T - 1])
def test_the_last_queries_see_what_they_would_see_in_a_whole_row(window, past):
    made = job()
    whole = attend(made.q, made.k, made.v, At(bias=bias), window=window)
    part = attend(made.q[:, :, past:], made.k, made.v, At(bias=bias), window=window)
    torch.testing.assert_close(part, whole[:, :, past:], rtol=0, atol=1e-12)


def largest(run):
    """The largest number of elements of a tensor that it makes."""
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            sizes.extend(part.numel() for part in torch.utils._pytree.tree_leaves(result) if torch.is_tensor(part))
            return result

    with Watch():
        run()
    return max(sizes)


def test_neither_a_window_nor_documents_cost_a_mask_of_time_squared():
    time, window = 4096, 64
    q = torch.randn(1, 1, time, 8)
    documents = torch.arange(time)[None] // 256
    for limit, options in ((window, (None, None)), (None, (documents, documents)), (window, (documents, documents))):
        made = Job(q, q, q, True, limit, *options, None, 1.0, None, None, {})
        assert largest(lambda made=made: choose(made)) <= time * 4 * window
        assert largest(lambda made=made: flex._blocks(made)) <= time


def test_half_precision_scores_are_not_rounded_before_they_are_capped():
    made = job(soft_cap=30.0, sinks=True)
    halves = [part.detach().bfloat16() for part in (made.q * 5, made.k * 5, made.v)]
    rest = [made.causal, None, None, None, None, 0.3, 30.0, made.sinks.detach(), {}]
    exact = dense.dense(Job(*(part.double() for part in halves), *rest))
    with torch.autocast("cpu", torch.bfloat16):
        got = dense.dense(Job(*halves, *rest))
    assert (got.double() - exact).abs().max() < 2e-2  # of bfloat16 weights and values; 0.1 with rounded scores


def test_short_documents_in_half_precision_are_computed_in_float32_on_the_cpu():
    """Where PyTorch's backward pass of 16-bit numbers is the slower one; under autocast too."""
    made = job(documents=True)
    halves = [part.detach().bfloat16().requires_grad_() for part in (made.q, made.k, made.v)]
    wide = [part.detach().float().requires_grad_() for part in halves]
    rest = [made.causal, None, made.documents, made.documents, None, 0.3, None, None]
    with torch.autocast("cpu", torch.bfloat16):
        got = by_document.by_document(Job(*halves, *rest, {}))
    expected = by_document.by_document(Job(*wide, *rest, {}))
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, expected.bfloat16())
    factor = torch.randn(got.shape).bfloat16()
    pairs = zip(
        torch.autograd.grad(got, halves, factor), torch.autograd.grad(expected, wide, factor.float()), strict=True
    )
    for grad, exact in pairs:
        assert torch.equal(grad, exact.bfloat16())
