"""Losses that ask a mixture of experts for even loads: what an expert is chosen for, times what it was scored."""

from torch import Tensor

from lmkit.layers.experts import count


def switch_loss(scores: Tensor, choices: Tensor) -> Tensor:
    """E times the sum over the experts of their share of the tokens times their mean score: k if even
    (Fedus et al. 2021, arXiv:2101.03961, eq. 4).

    Args:
        scores: of each token (B, T, E), which sum to 1.
        choices: of each token (B, T, k).
    """
    experts = scores.size(-1)
    scores = scores.flatten(0, 1)
    shares = count(choices, experts).sum(0) / scores.size(0)
    return experts * (shares * scores.mean(0)).sum()


def row_loss(scores: Tensor, loads: Tensor) -> Tensor:
    """As `switch_loss`, but for each row by itself, over k, and its mean over the rows: 1 if even (DeepSeek-V3,
    arXiv:2412.19437, eq. 17 to 20).

    Args:
        scores: of each token (B, T, E), of any sum.
        loads: number of tokens of each row that chose an expert (B, E).
    """
    shares = loads / loads.sum(-1, keepdim=True)
    means = (scores / scores.sum(-1, keepdim=True)).mean(1)  # (B, E)
    return scores.size(-1) * (shares * means).sum(-1).mean()
