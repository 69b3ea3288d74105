"""Losses of pairs that need no reference model: SimPO, ORPO and CPO.

A mean is that of the log-probabilities, in nats, of a completion's tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.errors import UserError
from lmkit.losses.chunks import wide
from lmkit.losses.options import check_label_smoothing, check_positive
from lmkit.losses.preferences import Completions, PreferenceLoss
from lmkit.losses.with_reference import dpo


def simpo(chosen: Tensor, rejected: Tensor, beta: float, margin: float) -> Tensor:
    """Simple preference optimization (Meng et al. 2024, arXiv:2405.14734, eq. 6; its gamma is `margin`).

    Args:
        chosen: means (P,) of the chosen completions.
        rejected: means (P,) of the rejected ones.
        beta: of the rewards, beta times a mean each.
        margin: by which the reward of the chosen one is to be higher.
    """
    return -F.logsigmoid(beta * (chosen - rejected) - margin)


def orpo(chosen: Tensor, rejected: Tensor, beta: float) -> Tensor:
    """Odds ratio preference optimization (Hong et al. 2024, arXiv:2403.07691, eq. 6 and 7; its lambda is `beta`).

    The likelihood is that of the chosen completion's tokens.

    Args:
        chosen: means (P,) of the chosen completions.
        rejected: means (P,) of the rejected ones.
        beta: the weight of the odds ratio beside the likelihood.
    """
    return -chosen - beta * F.logsigmoid(_log_odds(chosen) - _log_odds(rejected))


def cpo(chosen: Tensor, rejected: Tensor, means: Tensor, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Contrastive preference optimization (Xu et al. 2024, arXiv:2401.08417): eq. 3, which is DPO beside a uniform
    reference, and the likelihood of the chosen completion's tokens.

    Args:
        chosen: log-probabilities (P,) of the chosen completions, sums over their tokens.
        rejected: the same of the rejected ones.
        means: means (P,) of the chosen completions.
        beta: of the rewards, beta times a log-probability each.
        label_smoothing: the share of pairs whose preference is taken for the wrong way round.
    """
    return dpo(chosen, rejected, beta, label_smoothing) - means


def _log_odds(x: Tensor) -> Tensor:
    """log(p / (1 - p)) of log-probabilities; one that is rounded to 0 counts as the next one below."""
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    return x - torch.log(-torch.expm1(x))


class SimPO(PreferenceLoss):
    """Simple preference optimization: rewards a token, and a margin (Meng et al. 2024, arXiv:2405.14734, eq. 6).

    Args:
        beta: above 0; of the rewards, beta times the mean log-probability of a completion's tokens.
        margin: by which the reward of the chosen one is to be higher, 0 or more; half of `beta` is usual.
    """

    def __init__(self, beta: float = 2.0, margin: float = 1.0) -> None:
        check_positive(beta=beta)
        if not 0 <= margin < float("inf"):
            raise UserError(f"margin is {margin}: give a number of 0 or more, such as half of beta")
        self.beta, self.margin = beta, margin

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,)."""
        means = completions.means(completions.log_probabilities)
        return simpo(*completions.pairs(means), self.beta, self.margin)

    def rewards(self, completions: Completions) -> Tensor:
        """Beta times the mean (C,)."""
        return (self.beta * completions.means(completions.log_probabilities)).detach()


class ORPO(PreferenceLoss):
    """Odds ratio preference optimization, which fine-tunes too (Hong et al. 2024, arXiv:2403.07691, eq. 6 and 7).

    The likelihood is taken pair by pair, as there, so that a batch may be split in any way; TRL takes its mean over the
    tokens of a micro-batch, which is the same where all chosen completions are equally long.

    Args:
        beta: above 0; the weight of the odds ratio beside the likelihood of the chosen completion's tokens.
    """

    def __init__(self, beta: float = 0.1) -> None:
        check_positive(beta=beta)
        self.beta = beta

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,)."""
        return orpo(*completions.pairs(completions.means(completions.log_probabilities)), self.beta)

    def rewards(self, completions: Completions) -> Tensor:
        """Beta times the mean (C,)."""
        return (self.beta * completions.means(completions.log_probabilities)).detach()


class CPO(PreferenceLoss):
    """Contrastive preference optimization, which fine-tunes too (Xu et al. 2024, arXiv:2401.08417, eq. 3).

    The likelihood is taken pair by pair, so that a batch may be split in any way; TRL takes its mean over the tokens of
    a micro-batch, which is the same where all chosen completions are equally long.

    Args:
        beta: above 0; of the rewards, beta times the log-probability of a completion.
        label_smoothing: the share of pairs that are taken for the wrong way round, below 0.5.
    """

    def __init__(self, beta: float = 0.1, label_smoothing: float = 0.0) -> None:
        check_positive(beta=beta)
        check_label_smoothing(label_smoothing)
        self.beta, self.label_smoothing = beta, label_smoothing

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,)."""
        chosen, rejected = completions.pairs(completions.log_probabilities)
        means, _ = completions.pairs(completions.means(completions.log_probabilities))
        return cpo(chosen, rejected, means, self.beta, self.label_smoothing)

    def rewards(self, completions: Completions) -> Tensor:
        """Beta times the log-probability (C,)."""
        return (self.beta * wide(completions.log_probabilities)).detach()
