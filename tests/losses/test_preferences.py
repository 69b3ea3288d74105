"""Losses of preferences equal their formulas, written out in Python's floats, and refuse what they cannot work with."""

import math

import pytest
import torch

from lmkit.errors import UserError
from lmkit.losses import (
    CHOSEN,
    CPO,
    DPO,
    IPO,
    KTO,
    MISMATCHED,
    ORPO,
    REJECTED,
    Completions,
    RobustDPO,
    SimPO,
)


def made(dtype=torch.float64):
    """Four pairs and three completions of other prompts, in no order."""
    draw = torch.Generator().manual_seed(0)
    roles = torch.tensor([CHOSEN, CHOSEN, MISMATCHED, REJECTED, CHOSEN, MISMATCHED, REJECTED, REJECTED, MISMATCHED])
    roles = torch.cat([roles, torch.tensor([CHOSEN, REJECTED])])
    tokens = torch.randint(1, 30, roles.shape, generator=draw)
    own, reference = -2 * tokens * torch.rand(2, len(roles), generator=draw, dtype=torch.float64)
    return Completions(own.to(dtype).requires_grad_(), tokens, reference.to(dtype), roles)


def softplus(x):
    return math.log1p(math.exp(-abs(x))) + max(x, 0.0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def pairs(completions):
    """Of each pair the log-probability, the log-ratio and the tokens of the chosen, and the same of the rejected."""
    own, tokens, reference, roles = (part.tolist() for part in completions[:4])
    rows = [(p, p - r, n, role) for p, n, r, role in zip(own, tokens, reference, roles, strict=True)]
    chosen, rejected = ([row[:3] for row in rows if row[3] == role] for role in (CHOSEN, REJECTED))
    return [*zip(chosen, rejected, strict=True)]


def dpo(c, r, beta, e=0.0):
    margin = beta * (c - r)
    return (1 - e) * softplus(-margin) + e * softplus(margin)


def log_odds(mean):
    p = math.exp(mean)
    return math.log(p / (1 - p))


PAIRED = {
    "DPO": (DPO(0.3), lambda c, r: dpo(c[1], r[1], 0.3)),
    "conservative DPO": (DPO(0.3, 0.2), lambda c, r: dpo(c[1], r[1], 0.3, 0.2)),
    "robust DPO": (
        RobustDPO(0.3, 0.2),
        lambda c, r: (0.8 * dpo(c[1], r[1], 0.3) - 0.2 * dpo(r[1], c[1], 0.3)) / 0.6,
    ),
    "IPO": (IPO(0.3), lambda c, r: (c[1] / c[2] - r[1] / r[2] - 1 / 0.6) ** 2),
    "SimPO": (SimPO(2.5, 1.1), lambda c, r: softplus(1.1 - 2.5 * (c[0] / c[2] - r[0] / r[2]))),
    "ORPO": (ORPO(0.3), lambda c, r: 0.3 * softplus(log_odds(r[0] / r[2]) - log_odds(c[0] / c[2])) - c[0] / c[2]),
    "CPO": (CPO(0.3), lambda c, r: dpo(c[0], r[0], 0.3) - c[0] / c[2]),
    "conservative CPO": (CPO(0.3, 0.2), lambda c, r: dpo(c[0], r[0], 0.3, 0.2) - c[0] / c[2]),
}


@pytest.mark.parametrize("name", PAIRED)
def test_a_loss_of_pairs_is_its_formula(name):
    loss, formula = PAIRED[name]
    completions = made()
    expected = torch.tensor([formula(*pair) for pair in pairs(completions)], dtype=torch.float64)
    torch.testing.assert_close(loss(completions), expected)


@pytest.mark.parametrize("loss", [*(loss for loss, _ in PAIRED.values()), KTO(0.3, 1.5, 0.7)])
def test_gradients_are_those_of_small_differences(loss):
    completions = made()
    own, others = completions.log_probabilities, completions.roles == MISMATCHED

    def total(judged):
        return loss(completions._replace(log_probabilities=own.detach().index_put([~others], judged))).sum()

    assert torch.autograd.gradcheck(total, own[~others].detach().requires_grad_())
    (grad,) = torch.autograd.grad(loss(completions).sum(), own)
    assert not grad[others].any()
    assert grad[~others].all()


def test_kto_is_its_formula_for_each_that_is_judged():
    completions = made()
    own, _, reference, roles = (part.tolist() for part in completions[:4])
    ratios = [p - r for p, r in zip(own, reference, strict=True)]
    others = [x for x, role in zip(ratios, roles, strict=True) if role == MISMATCHED]
    for shift in (0.0, -20.0):  # the mean of the others is above 0 by one and below by the other
        divergence = max(0.0, sum(others) / 3 + shift)
        expected = [
            (1.5 * (1 - sigmoid(0.3 * (x + shift - divergence))))
            if role == CHOSEN
            else (0.7 * (1 - sigmoid(0.3 * (divergence - x - shift))))
            for x, role in zip(ratios, roles, strict=True)
            if role != MISMATCHED
        ]
        moved = completions._replace(reference=completions.reference - shift)
        torch.testing.assert_close(KTO(0.3, 1.5, 0.7)(moved), torch.tensor(expected, dtype=torch.float64))
    assert sum(others) / 3 - 20 < 0 < sum(others) / 3


def test_kto_does_not_depend_on_how_a_batch_is_split():
    """Where each part is told the mean of all, before it is clamped."""
    completions = made()
    ratios, roles = completions.log_ratios().detach(), completions.roles
    told = ratios[roles == MISMATCHED].mean()
    pieces = []
    for number in range(4):
        some = torch.cat([torch.nonzero(roles == role)[number::4, 0] for role in (CHOSEN, REJECTED, MISMATCHED)])
        pieces.append(KTO()(Completions(*(part[some] for part in completions[:4]), told)).sum())
    torch.testing.assert_close(sum(pieces), KTO()(completions).sum())
    below = completions._replace(divergence=torch.tensor(-1.0))
    torch.testing.assert_close(KTO()(below), KTO()(completions._replace(divergence=torch.tensor(0.0))))


def test_kto_takes_any_number_of_either():
    completions = made()
    for role in (CHOSEN, REJECTED):
        kept = completions.roles != role
        found = KTO()(Completions(*(part[kept] for part in completions[:4])))
        assert found.shape == (4,)
        judged = completions.roles[completions.roles != MISMATCHED]
        torch.testing.assert_close(found, KTO()(completions)[judged != role])


@pytest.mark.parametrize(
    ("loss", "reward"),
    [
        (DPO(0.3), lambda p, r, n: 0.3 * (p - r)),
        (RobustDPO(0.3), lambda p, r, n: 0.3 * (p - r)),
        (IPO(0.3), lambda p, r, n: 0.3 * (p - r)),
        (KTO(0.3), lambda p, r, n: 0.3 * (p - r)),
        (SimPO(2.5), lambda p, r, n: 2.5 * p / n),
        (ORPO(0.3), lambda p, r, n: 0.3 * p / n),
        (CPO(0.3), lambda p, r, n: 0.3 * p),
    ],
    ids=lambda x: type(x).__name__,
)
def test_rewards_are_what_the_paper_says(loss, reward):
    completions = made()
    own, tokens, reference = completions[:3]
    found = loss.rewards(completions)
    torch.testing.assert_close(found, reward(own.detach(), reference, tokens))
    assert not found.requires_grad


def test_low_precision_is_widened_first():
    own, tokens, reference, roles, _ = made(torch.bfloat16)
    for loss in (DPO(), IPO(), KTO(), SimPO(), ORPO(), CPO()):
        found = loss(Completions(own, tokens, reference, roles))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(Completions(own.float(), tokens, reference.float(), roles)))
        assert loss.rewards(Completions(own, tokens, reference, roles)).dtype == torch.float32


def test_an_orpo_of_certain_completions_has_finite_gradients():
    roles, tokens = torch.tensor([CHOSEN, REJECTED]), torch.tensor([3, 3])
    own = torch.zeros(2, requires_grad=True)
    loss = ORPO()(Completions(own, tokens, None, roles)).sum()
    loss.backward()
    assert loss.isfinite()
    assert own.grad.isfinite().all()


def test_what_is_lacking_is_told():
    completions = made()
    with pytest.raises(UserError, match="come without log-probabilities of one: give a reference, or choose a loss"):
        DPO()(completions._replace(reference=None))
    some = completions.roles != MISMATCHED
    with pytest.raises(UserError, match="KTO finds 8 completions and none of another prompt"):
        KTO()(Completions(*(part[some] for part in completions[:4])))
    some[0] = False
    with pytest.raises(UserError, match="3 chosen and 4 rejected completions are no pairs"):
        SimPO()(Completions(*(part[some] for part in completions[:4])))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DPO(beta=0), "beta is 0: give a number above 0"),
        (lambda: KTO(beta=float("nan")), "beta is nan: give a number above 0"),
        (lambda: IPO(beta=float("inf")), "beta is inf: give a number above 0"),
        (lambda: ORPO(beta=-1.0), "beta is -1.0: give a number above 0"),
        (lambda: SimPO(margin=-0.5), "margin is -0.5: give a number of 0 or more"),
        (lambda: RobustDPO(label_smoothing=0.5), "label_smoothing is 0.5, but it is the share of pairs"),
        (lambda: DPO(label_smoothing=-0.1), "label_smoothing is -0.1, but"),
        (lambda: CPO(label_smoothing=0.7), "label_smoothing is 0.7, but"),
        (lambda: KTO(desirable_weight=0.0), "desirable_weight is 0.0: give a number above 0"),
        (lambda: KTO(undesirable_weight=-2), "undesirable_weight is -2: give a number above 0"),
    ],
)
def test_an_option_out_of_range_is_told(make, said):
    with pytest.raises(UserError, match=said):
        make()


def test_options_are_kept_under_their_names():
    assert vars(DPO(0.2, 0.1)) == {"beta": 0.2, "label_smoothing": 0.1}
    assert vars(RobustDPO(0.2, 0.3)) == {"beta": 0.2, "label_smoothing": 0.3}
    assert vars(IPO(0.2)) == vars(ORPO(0.2)) == {"beta": 0.2}
    assert vars(SimPO(2.0, 0.5)) == {"beta": 2.0, "margin": 0.5}
    assert vars(CPO(0.2, 0.1)) == {"beta": 0.2, "label_smoothing": 0.1}
    assert vars(KTO(0.2, 1.5, 2.5)) == {"beta": 0.2, "desirable_weight": 1.5, "undesirable_weight": 2.5}
