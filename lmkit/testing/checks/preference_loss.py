"""Preference losses: a finite number for each pair or completion alone, which falls as what was chosen gains."""

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.losses import CHOSEN, MISMATCHED, REJECTED, Completions, PreferenceLoss
from lmkit.testing.preferring import Preferring, chosen
from lmkit.testing.results import Failed, counted, difference, finite, hold, short
from lmkit.testing.suite import check

KIND = (PreferenceLoss,)
PAIRS = 6
CLOSE = 1e-10
FAR = 300.0
"""Nats a token between model and reference: of a run that has gone far astray, or of very unlike completions."""


@check("a loss for each", KIND, "give (P,) or, unpaired, (N,) in the dtype that came, by what stays finite: logsigmoid")
def losses(subject: Preferring) -> str | None:
    """Of many pairs, one and none; also where a completion is certain, or hardly possible, with finite gradients."""
    loss, extremes = subject.make(), [0.0]
    for pairs in (PAIRS, 1, 0):
        for dtype in (torch.float64, torch.float32):
            for apart in (0.1, FAR):
                completions = subject.completions(pairs, apart, dtype)
                found, grad = _found(loss, completions)
                extremes += found.tolist()
                _look(found, _number(loss, completions), dtype)
                if not finite(grad):
                    raise Failed(f"a gradient is not finite where completions are {apart} nats a token off")
    certain = subject.completions(PAIRS)
    certain = certain._replace(log_probabilities=torch.zeros_like(certain.log_probabilities))
    found, grad = _found(loss, certain)
    _look(found, _number(loss, certain), torch.float64)
    if not finite(grad):
        raise Failed("a gradient is not finite where completions are certain")
    return f"{min(extremes):.3g} to {max(extremes):.3g}"


@check("prefers the chosen", KIND, "let the loss fall as a chosen completion gains, and as a rejected one loses")
def prefers(subject: Preferring) -> str | None:
    """The signs of the gradients where training begins, which is at the reference; those of other prompts have none."""
    completions = subject.completions(PAIRS, apart=0.0)
    _, grad = _found(subject.make(), completions)
    for role, sign, what in (
        (CHOSEN, -1, "a chosen"),
        (REJECTED, 1, "a rejected"),
        (MISMATCHED, 0, "another prompt's"),
    ):
        wrong = grad[(completions.roles == role) & (grad.sign() != sign)]
        if len(wrong):
            raise Failed(f"{counted(len(wrong), 'time')} the gradient of {what} completion is {wrong[0].item():.2g}")
    return short(grad.abs().max().item())


@check("pairs apart", KIND, "compute each loss of its pair or completion alone, and of those of other prompts")
def apart(subject: Preferring) -> str | None:
    """Each alone, and all in another order, have the losses that they have together."""
    loss, completions = subject.make(), subject.completions(PAIRS)
    whole, firsts = loss(completions), 2 * torch.arange(PAIRS)
    others = torch.arange(2 * PAIRS, len(completions.roles))
    worst, size = 0.0, len(whole) // PAIRS
    for number, first in enumerate(firsts.tolist()):
        alone = loss(chosen(completions, torch.cat([torch.tensor([first, first + 1]), others])))
        worst = max(worst, difference(alone, whole[size * number : size * (number + 1)]))
    hold(worst, CLOSE, "a pair alone has another loss than beside others,")
    order = torch.randperm(PAIRS, generator=torch.Generator().manual_seed(0))
    moved = loss(chosen(completions, torch.cat([others, firsts[order] + 1, firsts[order]])))
    expected = whole[order] if loss.paired else torch.cat([whole[1::2][order], whole[::2][order]])
    hold(difference(moved, expected), CLOSE, "in another order a pair has another loss,")
    return short(worst)


@check(
    "says what it needs", KIND, "set needs_reference, paired and needs_mismatched in the class as it reads completions"
)
def needs(subject: Preferring) -> str | None:
    """What it says that it needs it refuses to be without; the rest changes nothing."""
    loss, completions = subject.make(), subject.completions(PAIRS)
    whole, judged = loss(completions), completions.roles != MISMATCHED
    bare = completions._replace(reference=None)
    _needs(
        loss,
        bare,
        loss.needs_reference,
        "a reference",
        whole,
        completions._replace(reference=whole.new_ones(judged.shape)),
    )
    _needs(loss, chosen(completions, judged), loss.needs_mismatched, "completions of other prompts", whole, completions)
    single = torch.arange(len(judged)) != 0  # the first one, which is chosen
    if not loss.paired:
        _look(loss(chosen(completions, single)), len(whole) - 1, torch.float64)
    elif not _refuses(loss, chosen(completions, single)):
        raise Failed("it says that it is paired, and takes fewer chosen completions than rejected ones")
    said = {"a reference": loss.needs_reference, "pairs": loss.paired, "other prompts": loss.needs_mismatched}
    return ", ".join(name for name, needed in said.items() if needed)


@check("rewards", KIND, "give (C,) without gradients, in the dtype that came, the higher the more probable it is")
def rewards(subject: Preferring) -> str | None:
    """One for each completion, of whatever role, which rises with its log-probability."""
    loss, completions = subject.make(), subject.completions(PAIRS)
    own = completions.log_probabilities.requires_grad_()
    found = loss.rewards(completions)
    if found.requires_grad:
        raise Failed("they have gradients", do="end rewards by `.detach()`")
    _look(found, len(own), torch.float64)
    more = loss.rewards(completions._replace(log_probabilities=own.detach() + 0.05))
    if not (more > found).all():
        raise Failed("one does not rise with the log-probability of its completion")
    return f"{found.min().item():.3g} to {found.max().item():.3g}"


def _found(loss: PreferenceLoss, completions: Completions) -> tuple[Tensor, Tensor]:
    """The losses, and the gradient of their sum by the log-probabilities (C,)."""
    own = completions.log_probabilities.detach().requires_grad_()
    found = loss(completions._replace(log_probabilities=own))
    if not found.requires_grad:
        raise Failed("the losses have no gradients", do="compute them of completions.log_probabilities by torch alone")
    (grad,) = torch.autograd.grad(found.sum(), own, allow_unused=True, materialize_grads=True)
    return found.detach(), grad


def _number(loss: PreferenceLoss, completions: Completions) -> int:
    """How many losses there are to be."""
    return int((completions.roles == CHOSEN).sum()) if loss.paired else int((completions.roles != MISMATCHED).sum())


def _look(found: Tensor, number: int, dtype: torch.dtype) -> None:
    if found.shape != (number,):
        raise Failed(f"{number} are to be told, and it gives the shape {tuple(found.shape)}")
    if found.dtype != dtype:
        raise Failed(f"what is of {dtype} becomes {found.dtype}")
    if not finite(found):
        raise Failed(f"it gives {found[~found.isfinite()][0].item()}")


def _refuses(loss: PreferenceLoss, completions: Completions) -> bool:
    try:
        loss(completions)
    except UserError:
        return True
    return False


def _needs(
    loss: PreferenceLoss, without: Completions, needed: bool, what: str, whole: Tensor, beside: Completions
) -> None:
    """Looks whether it refuses to be without what it needs, and is the same without and with what it does not need."""
    if needed:
        if not _refuses(loss, without):
            raise Failed(f"it says that it needs {what}, and does without")
        return
    if _refuses(loss, without):
        raise Failed(f"it does not say that it needs {what}")
    for completions in (without, beside):
        hold(
            difference(loss(completions), whole),
            CLOSE,
            f"it does not say that it needs {what}, which changes its losses",
        )
