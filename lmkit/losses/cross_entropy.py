"""Cross-entropy of next tokens: a sum over the valid tokens and their number, a chunk of tokens at a time."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from lmkit.data.packing import IGNORE
from lmkit.losses.chunks import chunked_sum, wide


def chunked_cross_entropy(
    head: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    hidden: Tensor,
    targets: Tensor,
    chunk: int = 2048,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of next tokens without ever holding the logits of more than `chunk` tokens.

    Each chunk's gradient is taken while its logits exist, in the forward pass, so that nothing is computed twice.

    Args:
        head: hidden states (N, D) to logits (N, V).
        parameters: what `head` reads; those that require it receive gradients.
        hidden: (B, T, D).
        targets: ids (B, T), `IGNORE` where there is nothing to learn.
        chunk: tokens at a time.

    Returns:
        The summed loss in nats (a scalar of float32 or wider) and the number of valid tokens.
    """
    hidden, targets = hidden.flatten(0, 1), targets.flatten()

    def loss(here: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(head(here), target)

    return chunked_sum(loss, parameters, hidden, [targets], chunk), (targets != IGNORE).sum()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy in nats of logits (N, V) and targets (N), in float32 or wider."""
    return F.cross_entropy(wide(logits), targets, ignore_index=IGNORE, reduction="sum")
