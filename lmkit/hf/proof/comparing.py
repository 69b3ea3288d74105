"""Logits of an exported folder against those of the network, in float32."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.network import Decoder

TOLERANCE = 1e-4
"""The largest difference of a logit in float32 that is still the same number, computed in another order."""

STEP_TOLERANCE = 1e-3
"""The same of logits that are computed a token at a time: every step adds up in another order, and the next ones hear
of it. 8e-5 was measured of a network of 29 million random parameters with logits of 12, 0.0 of whole rows."""

_CHUNK = 2**24  # logits that are compared at once: 64 MiB


class Difference(NamedTuple):
    """How far apart the logits of a batch are, in float32.

    Attributes:
        rows: number of rows.
        length: tokens a row.
        largest: the largest absolute difference.
        mean: the mean absolute difference.
    """

    rows: int
    length: int
    largest: float
    mean: float


def difference(network: Decoder, hidden: Tensor, file: Path) -> Difference:
    """Logits of hidden states (B, T, D) against those in a file (B, T, V), some positions at a time.

    Raises:
        UserError: they are not as many.
    """
    from safetensors import safe_open  # noqa: PLC0415 (an extra)

    rows, length, vocab_size = *hidden.shape[:2], network.vocab_size
    largest, total = torch.tensor(0.0), 0.0
    with safe_open(file, "pt") as opened:
        theirs = opened.get_slice("logits")
        if (given := tuple(theirs.get_shape())) != (rows, length, vocab_size):
            raise UserError(
                f"the exported folder gives logits of shape {given}, the network {(rows, length, vocab_size)}: mend "
                "the vocabulary in its config.json"
            )
        step = max(1, _CHUNK // (rows * vocab_size))
        for start in range(0, length, step):
            apart = (network.logits(hidden[:, start : start + step]) - theirs[:, start : start + step]).abs()
            largest = torch.maximum(largest, apart.max())  # which keeps NaN
            total += apart.sum(dtype=torch.float64).item()
    return Difference(rows, length, largest.item(), total / (rows * length * vocab_size))


def follow(network: Decoder, hidden: Tensor, made: list[int]) -> tuple[int, list[str]]:
    """How many tokens of a greedy continuation are ties, and what is wrong with it.

    Each token has to be the network's first choice after those before it, so that they are its own too. Where several
    are first within the tolerance any will do, and those after it are compared all the same.

    Args:
        network: reads its own hidden states.
        hidden: those before each token (T, D), which it made without a cache.
        made: the tokens.
    """
    logits, chosen = network.logits(hidden), torch.tensor(made)  # (T, V) and (T)
    behind = logits.max(dim=-1).values - logits.gather(1, chosen.unsqueeze(1)).squeeze(1)
    wrong = (behind > STEP_TOLERANCE).nonzero().flatten().tolist()
    ties = int(((logits.argmax(dim=-1) != chosen) & (behind <= STEP_TOLERANCE)).sum())
    said = "token {} of the greedy continuation is {}, but {} by the network"
    return ties, [said.format(step + 1, made[step], int(logits[step].argmax())) for step in wrong[:1]]
