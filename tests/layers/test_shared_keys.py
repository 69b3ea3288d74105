"""The kernel for few queries and shared keys against the one for every job, which copies those keys."""

from dataclasses import replace

import pytest
import torch

from lmkit.layers import At, attend
from lmkit.layers.kernels.dense import dense
from lmkit.layers.kernels.job import Job
from lmkit.layers.kernels.shared_keys import can_share, shared_keys


def job(time=3, past=11, groups=2, width=8, **options):
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(2, n, length, w, dtype=torch.float64, requires_grad=True)
        for n, length, w in ((6, time, width), (groups, past, width), (groups, past, 5))
    )
    plain = Job(q, k, v, True, None, None, None, None, 0.3, None, None, {})
    return replace(plain, **options)


@pytest.mark.parametrize("time", [1, 3])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("bias", [None, lambda distance: torch.arange(6)[:, None, None] * 0.1 * distance])
@pytest.mark.parametrize("soft_cap", [None, 0.5])
def test_it_equals_the_dense_kernel(time, groups, causal, window, bias, soft_cap):
    one = job(time, groups=groups, causal=causal, window=window, bias=bias, soft_cap=soft_cap)
    assert can_share(one)
    both = [shared_keys(one), dense(replace(one, memo={}))]
    torch.testing.assert_close(*both, rtol=0, atol=1e-12)
    back = torch.randn_like(both[0])
    for got, expected in zip(*(torch.autograd.grad(y, (one.q, one.k, one.v), back) for y in both), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_it_is_left_out_where_it_would_not_pay_or_could_not():
    ids = torch.zeros(2, 11)
    assert not can_share(job(groups=6))
    assert not can_share(job(time=11))
    assert not can_share(job(time=9, width=8))
    assert not can_share(job(sinks=torch.zeros(6)))
    assert not can_share(job(documents=ids[:, :3], key_documents=ids))


def test_attend_takes_it(monkeypatch):
    monkeypatch.setattr(Job, "grown", lambda job: pytest.fail("keys were copied"))
    one = job(time=2)
    attend(one.q, one.k, one.v, At())
