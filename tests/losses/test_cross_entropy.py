"""The chunked loss equals the plain one, in value and gradient; perplexity equals torchmetrics'."""

import pytest
import torch
import torch.nn.functional as F
from torchmetrics.text import Perplexity

from lmkit.data.packing import IGNORE
from lmkit.losses import chunked_cross_entropy

B, T, D, V = 3, 7, 5, 11


def made(dtype=torch.float64):
    torch.manual_seed(0)
    hidden = torch.randn(B, T, D, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, D, dtype=dtype, requires_grad=True)
    targets = torch.randint(V, (B, T))
    targets[0, 2:5] = IGNORE
    return hidden, weight, targets


@pytest.mark.parametrize("chunk", [1, 4, 21, 100])
def test_value_and_gradients_equal_the_plain_loss(chunk):
    hidden, weight, targets = made()
    loss, count = chunked_cross_entropy(lambda h: F.linear(h, weight), [weight], hidden, targets, chunk)
    plain = F.cross_entropy((hidden @ weight.T).flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(loss, plain)
    assert count == B * T - 3
    got = torch.autograd.grad(loss / 7, [hidden, weight])
    torch.testing.assert_close(got, torch.autograd.grad(plain / 7, [hidden, weight]))


def test_without_gradients_it_is_the_same(chunk=4):
    hidden, weight, targets = made()
    with torch.inference_mode():
        loss, _ = chunked_cross_entropy(lambda h: F.linear(h, weight), [weight], hidden, targets, chunk)
    plain = F.cross_entropy((hidden @ weight.T).flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(loss, plain)


def test_no_more_than_a_chunk_of_logits_exists_at_once():
    hidden, weight, targets = made()
    seen = []

    def head(h):
        seen.append(len(h))
        return F.linear(h, weight)

    chunked_cross_entropy(head, [weight], hidden, targets, 4)[0].backward()
    assert max(seen) == 4
    assert sum(seen) == B * T  # nothing is computed twice


def test_under_autocast_it_is_as_near_as_the_plain_loss():
    hidden, weight, targets = made(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = chunked_cross_entropy(lambda h: F.linear(h, weight), [weight], hidden, targets, 4)
        plain = F.cross_entropy(F.linear(hidden, weight).flatten(0, 1).float(), targets.flatten(), reduction="sum")
    torch.testing.assert_close(loss, plain)
    got = torch.autograd.grad(loss, [hidden, weight])
    expected = torch.autograd.grad(plain, [hidden, weight])
    torch.testing.assert_close(got, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("chunk", [1, 21])
def test_in_bfloat16_the_chunks_are_added_in_float32(chunk):
    """However small the chunks, a weight's gradient is the exact one but for the rounding of its parts."""
    torch.manual_seed(0)
    hidden = torch.randn(1, 2048, 16).bfloat16().requires_grad_()
    weight = torch.randn(V, 16).bfloat16().requires_grad_()
    targets = torch.randint(V, (1, 2048))
    loss, _ = chunked_cross_entropy(lambda h: F.linear(h, weight), [weight], hidden, targets, chunk)
    (got,) = torch.autograd.grad(loss, weight)
    wide = weight.detach().double().requires_grad_()
    plain = F.cross_entropy((hidden.detach().double() @ wide.T).flatten(0, 1), targets.flatten(), reduction="sum")
    (exact,) = torch.autograd.grad(plain, wide)
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).norm() < 0.004 * exact.norm()


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, targets = made()
    weight.requires_grad_(False)
    loss, _ = chunked_cross_entropy(lambda h: F.linear(h, weight), [weight], hidden, targets, 4)
    plain = F.cross_entropy((hidden @ weight.T).flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(*(torch.autograd.grad(x, hidden) for x in (loss, plain)))


def test_perplexity_is_torchmetrics():
    hidden, weight, targets = made()
    loss, count = chunked_cross_entropy(lambda h: F.linear(h, weight), [weight], hidden, targets)
    metric = Perplexity(ignore_index=IGNORE)
    metric.update(hidden.detach() @ weight.detach().T, targets)
    assert (loss / count).exp().item() == pytest.approx(metric.compute().item(), rel=1e-5)
