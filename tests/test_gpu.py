"""On a CUDA device: the same numbers as on the CPU, in every precision that a recipe may name."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lmkit.layers.attend as attending
from lmkit.layers import ALiBi, At, RMSNorm, Rotary, SelfAttention
from lmkit.layers.kernels.by_branch import by_branch
from lmkit.layers.kernels.dense import dense
from lmkit.layers.kernels.flex import can_flex, flex
from lmkit.layers.kernels.varlen import can_vary, varlen
from lmkit.network import Decoder
from tests.conftest import RECIPES
from tests.layers import test_branches
from tests.layers.test_attend import OPTIONS, job, obvious
from tests.layers.test_attend import name as name_of

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("position", [Rotary, ALiBi])
def test_the_network_is_the_same_function(position):
    torch.manual_seed(0)
    network = Decoder(50, 64, 64, 2, 4, position=position).double()
    ids = torch.randint(50, (2, 64))
    documents = (ids == 0).cumsum(dim=1)
    with torch.no_grad():
        expected = network(ids, documents)
        got = network.cuda()(ids.cuda(), documents.cuda()).cpu()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS, ids=name_of)
@pytest.mark.parametrize(
    ("kernel", "can", "dtype", "tolerance"),
    [
        (flex, can_flex, torch.float32, 1e-3),
        (flex, can_flex, torch.bfloat16, 0.05),
        (varlen, can_vary, torch.bfloat16, 0.05),
    ],
)
def test_a_kernel_is_the_obvious_computation(kernel, can, dtype, tolerance, options):
    exact = job(**options, values=16)
    expected = obvious(exact)
    made = cast(exact, dtype)
    if not can(made):
        pytest.skip("is not for this")
    got = kernel(made)
    torch.testing.assert_close(got.double().cpu(), expected, rtol=0, atol=tolerance)
    upstream = torch.randn_like(expected)
    names = ["q", "k", "v", *(["sinks"] if exact.sinks is not None else [])]
    gradients = torch.autograd.grad(expected, [getattr(exact, part) for part in names], upstream)
    leaves = [getattr(made, part) for part in names]
    for mine, theirs in zip(torch.autograd.grad(got, leaves, upstream.to(got)), gradients, strict=True):
        torch.testing.assert_close(mine.double().cpu(), theirs, rtol=tolerance, atol=4 * tolerance)


@pytest.mark.parametrize("options", test_branches.OPTIONS, ids=name_of)
@pytest.mark.parametrize("kernel", [by_branch, dense], ids=lambda f: f.__name__)
def test_a_kernel_gives_each_branch_behind_its_start_alone(kernel, options):
    exact = test_branches.job(**options, values=16)
    expected = test_branches.alone(exact)
    made = cast(exact, torch.float32)
    got = kernel(made)
    torch.testing.assert_close(got.double().cpu(), expected, rtol=0, atol=1e-3)
    upstream = torch.randn_like(expected)
    names = ["q", "k", "v", *(["sinks"] if exact.sinks is not None else [])]
    gradients = torch.autograd.grad(expected, [getattr(exact, part) for part in names], upstream)
    leaves = [getattr(made, part) for part in names]
    for mine, theirs in zip(torch.autograd.grad(got, leaves, upstream.to(got)), gradients, strict=True):
        torch.testing.assert_close(mine.double().cpu(), theirs, rtol=1e-3, atol=4e-3)


def test_documents_need_no_mask_under_autocast_with_normed_queries(monkeypatch):
    taken = []
    kernels = [(lambda job, run=run: taken.append(run) or run(job), can) for run, can in attending.KERNELS]
    monkeypatch.setattr(attending, "KERNELS", tuple(kernels))
    layer = SelfAttention(64, 4, qk_norm=RMSNorm).cuda()
    documents = torch.arange(256, device="cuda")[None] // 100
    with torch.autocast("cuda", torch.bfloat16):
        layer(torch.randn(1, 256, 64, device="cuda"), At(documents=documents)).sum().backward()
    assert taken == [varlen]


def cast(exact, dtype):
    """The same job on the GPU."""
    tensors = {
        part: value.detach().to("cuda", dtype).requires_grad_()
        for part in ("q", "k", "v", "sinks")
        if (value := getattr(exact, part)) is not None
    }
    documents, branches = (None if ids is None else ids.cuda() for ids in (exact.documents, exact.branches))
    bias = None if exact.bias is None else (lambda distance: exact.bias(distance.cpu()).to(distance.device, dtype))
    apart = {"documents": documents, "key_documents": documents, "branches": branches}
    return replace(exact, **tensors, **apart, bias=bias, memo={})


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-3), ("bf16-mixed", 0.02), ("bf16-true", 0.05)])
def test_a_run_reaches_the_loss_that_it_reaches_on_the_cpu(run, toy, precision, tolerance):
    reached = {}
    for name, accelerator, chosen in (("cpu", "cpu", "32-true"), ("gpu", "gpu", precision)):
        options = [f"--name={name}", f"--trainer.accelerator={accelerator}", f"--trainer.precision={chosen}"]
        code, _, errors = run("fit", "-c", RECIPES / "gpt-small.yaml", *toy, *options, "--trainer.max_steps=8")
        assert code == 0, errors
        with Path(f"runs/{name}/version_0/metrics.csv").open() as file:
            reached[name] = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]][-1]
    assert reached["gpu"] == pytest.approx(reached["cpu"], rel=tolerance)
