"""Losses of reward models: what makes the reward of the completion that was preferred the higher one."""

import torch.nn.functional as F
from torch import Tensor

from lmkit.losses.chunks import wide


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: Tensor | None = None) -> Tensor:
    """-log of the probability that the chosen one is preferred, in nats a pair (P,), in float32 or wider.

    After Bradley and Terry 1952; with a margin as in Llama 2 (Touvron et al. 2023, arXiv:2307.09288, eq. 2).

    Args:
        chosen: rewards (P,) of the chosen completions.
        rejected: rewards (P,) of the rejected ones.
        margin: (P,) by which the chosen reward is to be higher, the more the clearer the preference; none for 0.
    """
    differences = wide(chosen) - wide(rejected)
    return -F.logsigmoid(differences if margin is None else differences - margin)


def bradley_terry_accuracy(chosen: Tensor, rejected: Tensor) -> Tensor:
    """For each pair (P,) 1 where the chosen completion has the higher reward, 0 where it has not."""
    return (chosen > rejected).float()
