"""Cross-entropy of next tokens: a sum over the valid tokens and their number, in chunks of tokens."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.data.packing import IGNORE


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
    count = (targets != IGNORE).sum()
    if torch.is_grad_enabled():
        return _ChunkedCrossEntropy.apply(head, chunk, targets, hidden, *parameters), count
    chunks = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    return torch.stack([cross_entropy(head(here), target) for here, target in chunks]).sum(), count


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Summed cross-entropy in nats of logits (N, V) and targets (N), in float32 or wider."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide, targets, ignore_index=IGNORE, reduction="sum")


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, head: Callable[[Tensor], Tensor], chunk: int, targets: Tensor, hidden: Tensor, *parameters: Tensor
    ) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)  # in which sums of many chunks stay exact
        total = hidden.new_zeros((), dtype=wide)
        hidden_grad = torch.empty_like(hidden)
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        sums = [torch.zeros_like(parameter, dtype=wide) for parameter in learning]
        for here, there, target in zip(*(part.split(chunk) for part in (hidden, hidden_grad, targets)), strict=True):
            with torch.enable_grad():
                leaf = here.detach().requires_grad_()
                loss = cross_entropy(head(leaf), target)
            total += loss.detach()
            grad, *grads = torch.autograd.grad(loss, [leaf, *learning])
            there.copy_(grad)
            for kept, grad in zip(sums, grads, strict=True):
                kept.add_(grad)
        grads = [kept.to(parameter.dtype) for kept, parameter in zip(sums, learning, strict=True)]
        ctx.save_for_backward(hidden_grad, *grads)
        ctx.learns = [parameter.requires_grad for parameter in parameters]
        return total

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = outputs
        hidden_grad, *grads = (grad * scale.to(grad.dtype) for grad in ctx.saved_tensors)
        left = iter(grads)
        return None, None, None, hidden_grad, *(next(left) if learns else None for learns in ctx.learns)
