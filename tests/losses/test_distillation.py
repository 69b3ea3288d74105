"""Divergences from a teacher equal torch's, in chunks too; those of the teacher's likeliest tokens are true ones."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from lmkit.data.packing import IGNORE
from lmkit.losses import between_logits, between_top_k, chunked_distillation, forward_kl, reverse_kl, top_k

B, T, D, V = 3, 7, 5, 11
DIVERGENCES = [forward_kl, reverse_kl]


def logits():
    draw = torch.Generator().manual_seed(0)
    return 3 * torch.randn(2, 6, V, generator=draw, dtype=torch.float64)


def torchs(divergence, student, teacher, temperature):
    """In torch's order: the distribution that is compared with comes first."""
    pair = [(x / temperature).log_softmax(-1) for x in (student, teacher)]
    return F.kl_div(*(pair if divergence is forward_kl else pair[::-1]), reduction="none", log_target=True).sum(-1)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_between_logits_it_is_torchs(divergence, temperature):
    student, teacher = logits()
    found = between_logits(divergence, student, teacher, temperature)
    torch.testing.assert_close(found, torchs(divergence, student, teacher, temperature))
    assert not between_logits(divergence, student, student, temperature).any()


def coarse(log_probabilities, ids):
    """Probabilities of these ids and of all others together, by hand."""
    rows = []
    for row, kept in zip(log_probabilities.exp().tolist(), ids.tolist(), strict=True):
        rest = sum(p for number, p in enumerate(row) if number not in kept)
        rows.append([row[number] for number in kept] + [rest])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize(("k", "temperature"), [(1, 1.0), (3, 2.5), (V - 1, 1.0)])
def test_of_the_likeliest_tokens_it_is_that_of_coarse_distributions(divergence, k, temperature):
    student, teacher = logits()
    student.requires_grad_()
    found = between_top_k(divergence, student, *top_k(teacher, k, temperature), temperature)
    ids = teacher.topk(k).indices
    theirs = coarse((teacher / temperature).log_softmax(-1), ids)
    ours = coarse((student / temperature).log_softmax(-1), ids)
    left, right = (theirs, ours) if divergence is forward_kl else (ours, theirs)
    torch.testing.assert_close(found, (left * (left / right).log()).sum(-1))
    full = between_logits(divergence, student, teacher, temperature)
    assert (found <= full + 1e-12).all()
    assert (found >= 0).all()
    assert torch.autograd.gradcheck(lambda x: between_top_k(divergence, x, *top_k(teacher, k)), student)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_of_all_tokens_it_is_the_full_one_with_its_gradient(divergence):
    student, teacher = logits()
    student.requires_grad_()
    found = between_top_k(divergence, student, *top_k(teacher, V))
    full = between_logits(divergence, student, teacher)
    torch.testing.assert_close(found, full)
    torch.testing.assert_close(*(torch.autograd.grad(x.sum(), student) for x in (found, full)))


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_where_student_and_teacher_agree_on_those_tokens_it_is_0(divergence):
    student, _ = logits()
    known, ids = top_k(student, 3)
    other = student.clone()
    rest = [number for number in range(V) if number not in ids[0].tolist()]
    other[0, rest] = student[0, rest[::-1]]  # how the others are shared out is not known
    assert between_top_k(divergence, other, known, ids)[0].abs() < 1e-12


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_log_probabilities_of_few_bits_keep_it_a_divergence(divergence, dtype):
    """Rounded ones may add up to more than 1; a teacher that is nearly certain leaves nothing to the others."""
    student, teacher = (x.float() for x in logits())
    teacher[0, 0] = 40.0
    known, ids = top_k(teacher, 4)
    rounded = known.to(dtype).requires_grad_(False)
    found = between_top_k(divergence, student.requires_grad_(), rounded, ids)
    assert found.dtype == torch.float32
    assert found.isfinite().all()
    assert (found > -1e-6).all()
    torch.testing.assert_close(found, between_top_k(divergence, student, known, ids), rtol=0.05, atol=0.02)
    (grad,) = torch.autograd.grad(found.sum(), student)
    assert grad.isfinite().all()


def test_a_student_that_is_certain_has_finite_gradients():
    student = torch.zeros(1, V)
    student[0, 3] = 200.0
    student.requires_grad_()
    known, ids = top_k(torch.zeros(1, V), 4)
    for divergence in DIVERGENCES:
        found = between_top_k(divergence, student, known, ids).sum()
        (grad,) = torch.autograd.grad(found, student)
        assert found.isfinite()
        assert grad.isfinite().all()


def made():
    torch.manual_seed(0)
    hidden = torch.randn(B, T, D, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(V, D, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(B, T, V, dtype=torch.float64)
    targets = torch.randint(V, (B, T))
    targets[0, 2:5] = IGNORE
    teacher[0, 3] = torch.nan  # which nobody looks at
    return hidden, weight, teacher, targets


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("chunk", [1, 4, 18, 100])
def test_in_chunks_it_is_the_same_with_its_gradients(divergence, chunk):
    hidden, weight, teacher, targets = made()
    seen = []

    def head(h):
        seen.append(len(h))
        return F.linear(h, weight)

    compare = partial(between_logits, divergence, temperature=2.0)
    loss, count = chunked_distillation(compare, head, [weight], hidden, targets, [teacher], chunk)
    valid = targets != IGNORE
    plain = torchs(divergence, (hidden @ weight.T)[valid], teacher[valid], 2.0).sum()
    torch.testing.assert_close(loss, plain)
    assert count == B * T - 3
    got = torch.autograd.grad(loss / 7, [hidden, weight])
    torch.testing.assert_close(got, torch.autograd.grad(plain / 7, [hidden, weight]))
    assert max(seen) == min(chunk, B * T - 3)
    assert sum(seen) == B * T - 3


def test_in_chunks_the_likeliest_tokens_or_hidden_states_of_the_teacher_will_do():
    hidden, weight, _, targets = made()
    states, matrix = torch.randn(B, T, 2 * D, dtype=torch.float64), torch.randn(V, 2 * D, dtype=torch.float64)
    valid = targets != IGNORE

    def run(compare, *teacher):
        return chunked_distillation(compare, lambda h: F.linear(h, weight), [weight], hidden, targets, teacher, 4)[0]

    student, teacher = (hidden @ weight.T)[valid], (states @ matrix.T)[valid]
    found = run(lambda own, h: between_logits(reverse_kl, own, F.linear(h, matrix)), states)
    torch.testing.assert_close(found, between_logits(reverse_kl, student, teacher).sum())
    known, ids = top_k(states @ matrix.T, 3)
    found = run(partial(between_top_k, forward_kl), known, ids)
    torch.testing.assert_close(found, between_top_k(forward_kl, student, *top_k(teacher, 3)).sum())


def test_of_no_tokens_it_is_0():
    hidden, weight, teacher, targets = made()
    nothing = torch.full_like(targets, IGNORE)
    compare = partial(between_logits, forward_kl)
    loss, count = chunked_distillation(compare, lambda h: F.linear(h, weight), [weight], hidden, nothing, [teacher])
    assert (loss, count) == (0, 0)
    assert not any(grad.any() for grad in torch.autograd.grad(loss, [hidden, weight]))
