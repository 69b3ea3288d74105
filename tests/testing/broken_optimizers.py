"""Optimizers that break the contract, each in one way."""

import random

import torch
from torch.optim import Optimizer


class Plain(Optimizer):
    """Is sound; the others are made of it: momentum, decoupled decay.

    Args:
        params: groups of parameters, given by the task.
        lr: the length of a step.
        weight_decay: share of each weight that a step takes away, times `lr`.
    """

    def __init__(self, params, lr: float = 1e-2, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    def step(self, closure=None):
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self.move(parameter, group)
        return loss

    def move(self, parameter, group):
        mean = self.mean_of(parameter).mul_(0.9).add_(parameter.grad)
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(mean, alpha=group["lr"])

    def mean_of(self, parameter):
        return self.state[parameter].setdefault("mean", torch.zeros_like(parameter))


class BrokenGroups(Plain):
    """Makes one group of all.

    Args:
        params: groups of parameters, given by the task.
        lr: the length of a step.
        weight_decay: share of each weight that a step takes away, times `lr`.
    """

    def __init__(self, params, lr: float = 1e-2, weight_decay: float = 0.0) -> None:
        super().__init__(
            [each for group in params for each in (group["params"] if isinstance(group, dict) else [group])]
        )


class BrokenUphill(Plain):
    """Goes up."""

    def move(self, parameter, group):
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(parameter.grad, alpha=group["lr"])


class BrokenClosure(Plain):
    """Says nothing of what the closure gave."""

    def step(self, closure=None):
        super().step(closure)


class BrokenDice(Plain):
    """Draws by a generator that no seed of torch reaches, in every fourth step."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        self.noise = random.random() if self.steps > 10 else 0.0  # seldom, which the other checks do not meet
        return super().step(closure)

    def move(self, parameter, group):
        super().move(parameter, group)
        parameter.mul_(1 - 1e-3 * group["lr"] * self.noise)


class BrokenMemory(Plain):
    """Keeps its means where no state dict looks."""

    def mean_of(self, parameter):
        return vars(self).setdefault("means", {}).setdefault(parameter, torch.zeros_like(parameter))


class Mean:
    """What only its own code can read."""

    def __init__(self, value):
        self.value = value


class BrokenObject(Plain):
    """Keeps an object among its state."""

    def mean_of(self, parameter):
        return self.state[parameter].setdefault("mean", Mean(torch.zeros_like(parameter))).value


class BrokenRate(Plain):
    """Takes the rate that it was made with."""

    def move(self, parameter, group):
        super().move(parameter, {**group, "lr": self.defaults["lr"]})


class BrokenDecay(Plain):
    """Takes the decay that it was made with."""

    def move(self, parameter, group):
        super().move(parameter, {**group, "weight_decay": self.defaults["weight_decay"]})


class BrokenStill(Plain):
    """Lets weights without gradient shrink."""

    def step(self, closure=None):
        loss = super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is None:
                        parameter.mul_(1 - 0.01 * group["lr"])
        return loss
