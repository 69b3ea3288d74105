"""Gradients of an optimizer step: of the mean over the global batch's valid tokens, clipped, and finite."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lmkit.tasks.checks import check_finite

DIVISOR = 1024.0
"""By which a micro-batch's summed loss is divided before its backward pass: any constant would do, because gradients
are brought to the mean over the global batch's valid tokens just before the step; this one keeps numbers near 1."""


def settle_gradients(optimizer: Optimizer, count: Tensor, trainer: Any) -> Tensor:
    """Brings gradients from Lightning's mean over micro-batches to the mean over valid tokens, clips them by norm where
    the trainer says so, and returns the norm that they had before.

    Args:
        optimizer: whose parameters have the gradients.
        count: of the global batch's valid tokens.
        trainer: Lightning's.

    Raises:
        RunError: they are not finite, in a step that is logged.
    """
    factor = DIVISOR * trainer.accumulate_grad_batches * trainer.world_size / count.clamp(min=1)
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients) * factor
    if trainer.gradient_clip_val and trainer.gradient_clip_algorithm != "value":
        factor = factor * (trainer.gradient_clip_val / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, factor)
    scaled = str(trainer.precision) == "16-mixed"  # whose scaler skips a lost step and goes on
    if trainer.global_step % trainer.log_every_n_steps == 0 and not scaled:
        check_finite("gradients are", norm, trainer.global_step)  # which waits for the device, as logging does
    return norm
