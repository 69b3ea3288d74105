"""The log-probability of each target: what losses of whole completions are made of, a chunk of tokens at a time."""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor

from lmkit.data.packing import IGNORE
from lmkit.losses.chunks import chunked_values, wide


def chunked_log_probabilities(
    head: Callable[[Tensor], Tensor],
    parameters: Sequence[Tensor],
    hidden: Tensor,
    targets: Tensor,
    chunk: int = 2048,
) -> Tensor:
    """The log-probability of each target (N) in nats, without ever holding the logits of more than `chunk` tokens.

    The forward pass keeps no logits; the backward pass computes those of each chunk again, in the dtypes of the forward
    pass under autocast. With a frozen head nothing is computed twice.

    Args:
        head: hidden states (N, D) to logits (N, V).
        parameters: what `head` reads; those that require it receive gradients.
        hidden: (N, D), which may be of no tokens.
        targets: ids (N); 0 nats where one is `IGNORE`.
        chunk: tokens at a time.

    Returns:
        (N), in float32 or wider.
    """

    def values(here: Tensor, target: Tensor) -> Tensor:
        return log_probabilities(head(here), target)

    return chunked_values(values, parameters, hidden, [targets], chunk)


def log_probabilities(logits: Tensor, targets: Tensor) -> Tensor:
    """The log-probability in nats of each target (N) by logits (N, V), in float32 or wider; 0 where it is `IGNORE`."""
    return -F.cross_entropy(wide(logits), targets, ignore_index=IGNORE, reduction="none")
