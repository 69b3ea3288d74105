"""Losses of pairs beside a reference model: DPO, its conservative and robust forms, and IPO.

They are functions of log-ratios: by how many nats a completion is more probable than by the reference model.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from lmkit.losses.options import check_label_smoothing, check_positive
from lmkit.losses.preferences import Completions, PreferenceLoss


def dpo(chosen: Tensor, rejected: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290, eq. 7), with `label_smoothing` the
    conservative form (Mitchell 2023, "A note on DPO with noisy preferences and relationship to IPO", eq. 3).

    Args:
        chosen: log-ratios (P,) of the chosen completions.
        rejected: log-ratios (P,) of the rejected ones.
        beta: of the rewards, beta times a log-ratio each.
        label_smoothing: the share of pairs whose preference is taken for the wrong way round.
    """
    margins = beta * (chosen - rejected)
    return -(1 - label_smoothing) * F.logsigmoid(margins) - label_smoothing * F.logsigmoid(-margins)


def robust_dpo(chosen: Tensor, rejected: Tensor, beta: float, label_smoothing: float) -> Tensor:
    """Robust DPO (Chowdhury et al. 2024, arXiv:2403.00409): ((1 - e) L(w, l) - e L(l, w)) / (1 - 2 e), L that of DPO.

    Where a share e of preferences is the wrong way round, its expectation is the loss of DPO on the right ones.

    Args:
        chosen: log-ratios (P,) of the chosen completions.
        rejected: log-ratios (P,) of the rejected ones.
        beta: of the rewards, beta times a log-ratio each.
        label_smoothing: e.
    """
    right, wrong = dpo(chosen, rejected, beta), dpo(rejected, chosen, beta)
    return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)


def ipo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Identity preference optimization (Azar et al. 2023, arXiv:2310.12036, eq. 17; its tau is `beta`).

    Args:
        chosen: log-ratios (P,) of the chosen completions, means over their tokens, so that the length of completions
            has no say in it.
        rejected: the same of the rejected ones.
        beta: the difference of both is drawn to 1 / (2 beta).
    """
    return (chosen - rejected - 1 / (2 * beta)).square()


class _WithReference(PreferenceLoss):
    needs_reference: ClassVar[bool] = True
    beta: float

    def rewards(self, completions: Completions) -> Tensor:
        """Beta times the log-ratio (C,)."""
        return (self.beta * completions.log_ratios()).detach()


class DPO(_WithReference):
    """Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290, eq. 7).

    Args:
        beta: above 0; the larger, the nearer the model stays to the reference.
        label_smoothing: the share of pairs that are taken for the wrong way round (conservative DPO), below 0.5.
    """

    def __init__(self, beta: float = 0.1, label_smoothing: float = 0.0) -> None:
        check_positive(beta=beta)
        check_label_smoothing(label_smoothing)
        self.beta, self.label_smoothing = beta, label_smoothing

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,)."""
        return dpo(*completions.pairs(completions.log_ratios()), self.beta, self.label_smoothing)


class RobustDPO(_WithReference):
    """DPO that is right on average where some preferences are not (Chowdhury et al. 2024, arXiv:2403.00409).

    Args:
        beta: above 0; the larger, the nearer the model stays to the reference.
        label_smoothing: the share of pairs that are the wrong way round, below 0.5.
    """

    def __init__(self, beta: float = 0.1, label_smoothing: float = 0.1) -> None:
        check_positive(beta=beta)
        check_label_smoothing(label_smoothing)
        self.beta, self.label_smoothing = beta, label_smoothing

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,)."""
        return robust_dpo(*completions.pairs(completions.log_ratios()), self.beta, self.label_smoothing)


class IPO(_WithReference):
    """Identity preference optimization, of log-ratios a token (Azar et al. 2023, arXiv:2310.12036, eq. 17).

    Args:
        beta: above 0; the difference of a pair's log-ratios a token is drawn to 1 / (2 beta).
    """

    def __init__(self, beta: float = 0.1) -> None:
        check_positive(beta=beta)
        self.beta = beta

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,)."""
        return ipo(*completions.pairs(completions.means(completions.log_ratios())), self.beta)
