"""What tasks that predict tokens have in common: the loss of a batch, and of each of its rows."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lmkit.data.packing import IGNORE, Batch
from lmkit.losses import chunked_cross_entropy
from lmkit.network import Network

STEP = 64
"""The head is given multiples of so many tokens: kernels that are made for one shape (oneDNN's) are few then."""


def of_targets(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states (B, T, D) and targets (B, T) of the tokens that have a target: (1, N, D) and (1, N), with a few
    others up to a whole multiple. The head is computed for them alone.
    """
    hidden, targets = hidden.flatten(0, 1), targets.flatten()
    valid = targets != IGNORE
    few = valid.int().argsort(descending=True, stable=True)[: -(-int(valid.sum()) // STEP) * STEP]
    return hidden[few][None], targets[few][None]


def token_loss(network: Network, hidden: Tensor, targets: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Summed loss in nats and number of the valid tokens, of hidden states (B, T, D) and targets (B, T)."""
    return chunked_cross_entropy(network.logits, [network.head_weight], hidden, targets, chunk)


def row_losses(network: Network, hidden: Tensor, targets: Tensor, chunk: int) -> Tensor:
    """The same for each row by itself: (B, 2)."""
    rows = zip(hidden.split(1), targets.split(1), strict=True)
    return torch.stack([torch.stack([x.float() for x in token_loss(network, *row, chunk)]) for row in rows])


def tell_rows(losses: Tensor, batch: Batch, number: int, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """Of each row that has targets its number, its loss in nats a token, how many tokens that is of, what comes before
    them, if anything does, and their text, a line for each part of several.

    Args:
        losses: as of `row_losses` (B, 2).
        batch: the rows.
        number: of the batch, which tells those of its rows.
        tokenizer: decodes them.
    """
    rows = zip(losses.tolist(), batch.inputs.tolist(), batch.targets.tolist(), strict=True)
    for row, ((loss, count), inputs, targets) in enumerate(rows, number * len(losses)):
        if count:
            first = next(place for place, token in enumerate(targets) if token != IGNORE)
            before = tokenizer.decode(inputs[: first + 1]) if first else ""
            parts = [tokenizer.decode([*part]) for learned, part in groupby(targets, IGNORE.__ne__) if learned]
            parts = [part.removeprefix(" ") for part in parts] if before else parts
            told = {"row": row, "loss": loss / count, "tokens": int(count)}
            yield {**told, **({"prompt": before} if before else {}), "text": "\n".join(parts)}
