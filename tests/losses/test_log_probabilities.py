"""Log-probabilities in chunks equal those of log_softmax, in value and gradient, and hold no more logits than said."""

import pytest
import torch
import torch.nn.functional as F

from lmkit.data.packing import IGNORE
from lmkit.losses import chunked_log_probabilities

N, D, V = 21, 5, 11


class Head:
    """A matrix, and how many tokens it was asked for each time, in which dtype."""

    def __init__(self, weight):
        self.weight, self.asked, self.dtypes = weight, [], []

    def __call__(self, hidden):
        self.asked.append(len(hidden))
        logits = F.linear(hidden, self.weight)
        self.dtypes.append(logits.dtype)
        return logits


def made(dtype=torch.float64, tokens=N):
    torch.manual_seed(0)
    hidden = torch.randn(tokens, D, dtype=dtype, requires_grad=True)
    head = Head(torch.randn(V, D, dtype=dtype, requires_grad=True))
    return hidden, head, torch.randint(V, (tokens,)), torch.randn(tokens, dtype=dtype)


def obvious(hidden, weight, targets):
    return (hidden @ weight.T).log_softmax(-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("chunk", [1, 4, 21, 100])
@pytest.mark.parametrize("learned", ["both", "hidden", "head"])
def test_values_and_gradients_are_those_of_log_softmax(chunk, learned):
    hidden, head, targets, weights = made()
    hidden.requires_grad_(learned != "head")
    head.weight.requires_grad_(learned != "hidden")
    learning = [part for part in (hidden, head.weight) if part.requires_grad]
    found = chunked_log_probabilities(head, [head.weight], hidden, targets, chunk)
    expected = obvious(hidden, head.weight, targets)
    torch.testing.assert_close(found, expected)
    got = torch.autograd.grad((found * weights).sum(), learning)
    torch.testing.assert_close(got, torch.autograd.grad((expected * weights).sum(), learning))


@pytest.mark.parametrize(("frozen", "times"), [(False, 2), (True, 1)])
def test_no_more_than_a_chunk_of_logits_exists_at_once(frozen, times):
    hidden, head, targets, weights = made()
    head.weight.requires_grad_(not frozen)
    kept = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.add((*x.shape,)) or x, lambda x: x):
        found = chunked_log_probabilities(head, [head.weight], hidden, targets, 4)
    assert head.asked == [4, 4, 4, 4, 4, 1]
    logits = {shape for shape in kept if V in shape[1:]} - {(D, V)}  # the matrix, transposed
    assert logits <= ({(4, V), (1, V)} if frozen else set())
    (found * weights).sum().backward()
    assert head.asked == [4, 4, 4, 4, 4, 1] * times
    assert (head.weight.grad is None) == frozen


def test_without_gradients_nothing_is_kept_and_nothing_computed_twice():
    hidden, head, targets, _ = made()
    expected = obvious(hidden, head.weight, targets).detach()
    with torch.inference_mode():
        found = chunked_log_probabilities(head, [head.weight], hidden, targets, 4)
    torch.testing.assert_close(found.clone(), expected)
    found = chunked_log_probabilities(head, [head.weight.requires_grad_(False)], hidden.detach(), targets, 4)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    assert sum(head.asked) == 2 * N


@pytest.mark.parametrize("frozen", [False, True])
def test_no_tokens_have_no_log_probabilities(frozen):
    hidden, head, targets, _ = made(tokens=0)
    head.weight.requires_grad_(not frozen)
    found = chunked_log_probabilities(head, [head.weight], hidden, targets, 4)
    assert found.shape == (0,)
    found.sum().backward()
    assert hidden.grad.shape == (0, D)
    assert frozen or not head.weight.grad.any()


def test_what_is_to_be_ignored_is_0_and_teaches_nothing():
    hidden, head, targets, _ = made()
    targets[3:6] = IGNORE
    found = chunked_log_probabilities(head, [head.weight], hidden, targets, 4)
    assert not found[3:6].any()
    found.sum().backward()
    assert not hidden.grad[3:6].any()
    assert hidden.grad[6].any()


@pytest.mark.parametrize("frozen", [False, True])
def test_under_autocast_logits_have_the_same_dtype_both_times(frozen):
    hidden, head, targets, weights = made(torch.float32)
    head.weight.requires_grad_(not frozen)
    learning = [hidden] if frozen else [hidden, head.weight]
    with torch.autocast("cpu", torch.bfloat16):
        found = chunked_log_probabilities(head, [head.weight], hidden, targets, 4)
        plain = F.linear(hidden, head.weight).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain)
    got = torch.autograd.grad((found * weights).sum(), learning)  # outside of autocast, as backward passes are
    assert {*head.dtypes} == {torch.bfloat16}
    expected = torch.autograd.grad((plain * weights).sum(), learning)
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)


def test_a_backward_pass_within_autocast_is_that_of_a_forward_pass_without():
    hidden, head, targets, _ = made(torch.float32)
    found = chunked_log_probabilities(head, [head.weight], hidden, targets, 4)
    with torch.autocast("cpu", torch.bfloat16):
        found.sum().backward()
    assert {*head.dtypes} == {torch.float32}


@pytest.mark.parametrize("chunk", [1, 64])
def test_in_bfloat16_the_chunks_of_the_heads_gradient_are_added_in_float32(chunk):
    torch.manual_seed(0)
    hidden = torch.randn(1024, 16).bfloat16().requires_grad_()
    weight = torch.randn(V, 16).bfloat16().requires_grad_()
    targets, weights = torch.randint(V, (1024,)), torch.randn(1024)
    found = chunked_log_probabilities(lambda h: F.linear(h, weight), [weight], hidden, targets, chunk)
    assert found.dtype == torch.float32
    (got,) = torch.autograd.grad((found * weights).sum(), weight)
    wide = weight.detach().double().requires_grad_()
    plain = obvious(hidden.detach().double(), wide, targets)
    (exact,) = torch.autograd.grad((plain * weights).sum(), wide)
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).norm() < 0.006 * exact.norm()


def test_what_is_one_chunk_is_computed_once():
    hidden, head, targets, weights = made()
    (chunked_log_probabilities(head, [head.weight], hidden, targets, N) * weights).sum().backward()
    assert head.asked == [N]
