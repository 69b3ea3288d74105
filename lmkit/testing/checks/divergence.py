"""Divergences: 0 where student and teacher agree, above 0 elsewhere, and less of it the nearer they are."""

import torch

from lmkit.losses import Divergence
from lmkit.testing.diverging import Diverging
from lmkit.testing.results import Failed, counted, difference, finite, hold, short
from lmkit.testing.suite import check

KIND = (Divergence,)
CLOSE = 1e-10
FAR = 60.0
"""Spread of logits under which most tokens are impossible in float32."""


@check("a divergence", KIND, "give (N) in the dtype that came: 0 where both are the same, above 0 elsewhere", runs=True)
def divergence(subject: Diverging) -> str | None:
    """Shape, dtype, sign, and 0 for a student that says what the teacher says."""
    part = subject.make()
    if not (isinstance(part.temperature, int | float) and part.temperature > 0):
        raise Failed(f"its temperature is {part.temperature!r}", do="set self.temperature to a number above 0")
    for dtype in (torch.float64, torch.float32):
        for tokens in (6, 1, 0):
            student, teacher = subject.pair(tokens, dtype=dtype)
            found = part(student, teacher)
            if found.shape != (tokens,) or found.dtype != dtype:
                raise Failed(f"for {tokens} tokens of {dtype} it gives {tuple(found.shape)} of {found.dtype}")
            if not (found > 0).all():
                raise Failed(f"of distributions that differ it is {found.min().item():.3g}")
    student, _ = subject.pair()
    hold(part(student, student).abs().max().item(), CLOSE, "of one distribution with itself it is not 0 but")
    return short(part(*subject.pair()).max().item())


@check("finite", KIND, "multiply probabilities with log-probabilities, and take no logarithm of what may be 0")
def stays_finite(subject: Diverging) -> str | None:
    """Values and gradients, where most tokens are next to impossible for both."""
    part = subject.make()
    for dtype in (torch.float64, torch.float32):
        student, teacher = subject.pair(spread=FAR, dtype=dtype)
        student.requires_grad_()
        found = part(student, teacher)
        (grad,) = torch.autograd.grad(found.sum(), student)
        if not finite(found) or not finite(grad):
            raise Failed(f"of very sharp distributions in {dtype} {'its gradient' if finite(found) else 'it'} is not")
    return None


@check("falls on the way", KIND, "let its gradient lead the student to the teacher")
def falls(subject: Diverging) -> str | None:
    """It falls as a student's logits go a little way to those of the teacher, as its gradient tells."""
    part, (student, teacher) = subject.make(), subject.pair()
    logits = student.clone().requires_grad_()
    before = part(logits.log_softmax(-1), teacher)
    (grad,) = torch.autograd.grad(before.sum(), logits)
    step = 1e-4 * (teacher - student)
    after = part((student + step).log_softmax(-1), teacher)
    if not (after < before).all():
        raise Failed(f"of {counted(int((after >= before).sum()), 'token')} it does not fall on the way to the teacher")
    if not ((grad * step).sum(-1) < 0).all():
        raise Failed("its gradient leads away from the teacher")
    return None


@check("tokens apart", KIND, "compute each token of its own two distributions alone")
def apart(subject: Diverging) -> str | None:
    """Each token alone has what it has among others."""
    part, (student, teacher) = subject.make(), subject.pair()
    whole = part(student, teacher)
    alone = torch.cat([part(student[row : row + 1], teacher[row : row + 1]) for row in range(len(student))])
    hold(difference(alone, whole), CLOSE, "a token alone has another divergence than among others,")
    return counted(len(whole), "token")
