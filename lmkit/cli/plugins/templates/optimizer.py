"""Template, an optimizer: write here what it is, who proposed it, when, and under which arXiv number."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.optim import Optimizer

from lmkit.errors import UserError


class Template(Optimizer):
    """Moves each number by the sign of its gradients' running mean.

    Args:
        params: groups of parameters, given by the task.
        lr: the length of a step.
        momentum: the share of the running mean that is kept in each step, in [0, 1).
        weight_decay: share of each weight that is taken away in each step, times `lr`.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 3e-4, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        if lr < 0 or not 0 <= momentum < 1 or weight_decay < 0:
            raise UserError(
                f"lr {lr}, momentum {momentum} and weight_decay {weight_decay}: give numbers from 0 on, and a momentum "
                "below 1"
            )
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step; `closure`, if given, computes the loss and its gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)
        return loss

    def _move(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        mean = state.setdefault("mean", torch.zeros_like(parameter))
        mean.lerp_(parameter.grad, 1 - group["momentum"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(mean.sign(), alpha=group["lr"])
