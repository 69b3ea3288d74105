"""Kahneman-Tversky optimization: completions that are desirable or undesirable, without pairs."""

from typing import ClassVar

import torch
from torch import Tensor

from lmkit.data.examples.roles import CHOSEN, MISMATCHED
from lmkit.errors import UserError
from lmkit.losses.options import check_positive
from lmkit.losses.preferences import Completions, PreferenceLoss


def kto(
    log_ratios: Tensor,
    desirable: Tensor,
    divergence: Tensor,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Kahneman-Tversky optimization (Ethayarajh et al. 2024, arXiv:2402.01306, eq. 7), less its constant terms: a
    weight less the value, which is 0 at best.

    Args:
        log_ratios: (N,) by how many nats each is more probable than by the reference model.
        desirable: (N,) whether it is.
        divergence: the reference point, a number: how far the model is from the reference, as `divergence_estimate`.
        beta: how fast a log-ratio beyond the reference point satisfies.
        desirable_weight: of those that are desirable.
        undesirable_weight: of the others.
    """
    gains = torch.where(desirable, log_ratios - divergence, divergence - log_ratios)
    weights = torch.where(desirable, desirable_weight, undesirable_weight)
    return weights * torch.sigmoid(-beta * gains)


def divergence_estimate(log_ratios: Tensor) -> Tensor:
    """The divergence (KL) of the model from the reference, without gradients.

    Args:
        log_ratios: (M,) of completions of other prompts, or their mean; which is taken, or 0 where it is less.
    """
    return log_ratios.detach().mean().clamp(min=0)


class KTO(PreferenceLoss):
    """Kahneman-Tversky optimization: desirable and undesirable completions (Ethayarajh et al. 2024, arXiv:2402.01306).

    Args:
        beta: above 0; the larger, the sooner a completion satisfies, and the nearer the model stays to the reference.
        desirable_weight: of those that are chosen, above 0.
        undesirable_weight: of those that are rejected, above 0; weight times number is to be about as large for both.
    """

    needs_reference: ClassVar[bool] = True
    paired: ClassVar[bool] = False
    needs_mismatched: ClassVar[bool] = True

    def __init__(self, beta: float = 0.1, desirable_weight: float = 1.0, undesirable_weight: float = 1.0) -> None:
        check_positive(beta=beta, desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)
        self.beta, self.desirable_weight, self.undesirable_weight = beta, desirable_weight, undesirable_weight

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each (N,) that is chosen or rejected.

        Raises:
            UserError: there is no completion of another prompt.
        """
        log_ratios, others = completions.log_ratios(), completions.roles == MISMATCHED
        judged, mismatched = log_ratios[~others], log_ratios[others]
        if completions.divergence is None and len(judged) and not len(mismatched):
            raise UserError(
                f"KTO finds {len(judged)} completions and none of another prompt, by which it measures how far the "
                "model is from the reference: give some that are MISMATCHED in every batch"
            )
        desirable = (completions.roles[~others] == CHOSEN).to(judged.device)
        divergence = divergence_estimate(mismatched if completions.divergence is None else completions.divergence)
        return kto(judged, desirable, divergence, self.beta, self.desirable_weight, self.undesirable_weight)

    def rewards(self, completions: Completions) -> Tensor:
        """Beta times the log-ratio (C,)."""
        return (self.beta * completions.log_ratios()).detach()
