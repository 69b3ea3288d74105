"""AdaNorm against its formula in float64, and as lmkit finds it once the package is installed."""

import statistics
from importlib.metadata import entry_points

import pytest
import torch
from lmkit_ada_norm import AdaNorm

from lmkit.errors import UserError
from lmkit.layers import Norm
from lmkit.network import Decoder
from lmkit.registry import classes, load_plugins, source
from lmkit.testing import conformance

test_it_conforms = conformance(AdaNorm)


def test_it_is_its_formula():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    result = AdaNorm(8, scale=1.5, damping=0.2, eps=1e-3)(x)
    for row, found in zip(x.flatten(0, 1).tolist(), result.flatten(0, 1).tolist(), strict=True):
        mean, variance = statistics.fmean(row), statistics.pvariance(row)
        for number, value in zip(row, found, strict=True):
            y = (number - mean) / (variance + 1e-3) ** 0.5
            assert abs(value - 1.5 * (1 - 0.2 * y) * y) < 1e-12


def test_no_gradient_passes_through_the_factor():
    x = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(4, 8, dtype=torch.float64)
    (found,) = torch.autograd.grad(AdaNorm(8, damping=0.3)(x), x, upstream)
    y = torch.nn.functional.layer_norm(x, (8,))
    (expected,) = torch.autograd.grad(y, x, upstream * (1 - 0.3 * y.detach()))
    torch.testing.assert_close(found, expected)


def test_options_out_of_range_are_refused():
    with pytest.raises(UserError, match="scale is 0"):
        AdaNorm(8, scale=0)


def test_a_network_with_it_learns():
    torch.manual_seed(0)
    network = Decoder(50, 16, 32, 2, 4, norm=AdaNorm)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    tokens = torch.randint(50, (4, 17))
    losses = []
    for _ in range(20):
        logits = network.logits(network(tokens[:, :-1]))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.skipif("ada-norm" not in entry_points(group="lmkit.plugins").names, reason="the package is not installed")
def test_lmkit_finds_it():
    load_plugins([])
    assert classes(Norm)["AdaNorm"] is AdaNorm
    assert source(AdaNorm) == "lmkit-ada-norm 0.1.0"
