"""Schedules: the factor of the learning rate as a function of the optimizer step."""

import math
from abc import ABC, abstractmethod

from lmkit.errors import UserError


class Schedule(ABC):
    """A kind: constructed with `steps`, the length of the run in optimizer steps, given by the task."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The factor of the learning rate for optimizer step `step`, counted from 0."""


class Constant(Schedule):
    """Factor 1 throughout.

    Args:
        steps: unused, given by the task.
    """

    def __init__(self, steps: int) -> None:
        pass

    def __call__(self, step: int) -> float:
        """Always 1."""
        return 1.0


class WarmupCosine(Schedule):
    """A linear rise, then half a cosine down (Loshchilov and Hutter 2016, arXiv:1608.03983).

    Args:
        steps: optimizer steps of the run, given by the task.
        warmup: optimizer steps of the rise.
        final: the factor at the end.
    """

    def __init__(self, steps: int, warmup: int = 100, final: float = 0.1) -> None:
        _check(steps, warmup)
        self.steps, self.warmup, self.final = steps, warmup, final

    def __call__(self, step: int) -> float:
        """The factor for optimizer step `step`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        share = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * share)) / 2


class WarmupStableDecay(Schedule):
    """A linear rise, a plateau, and a linear fall at the end (Hu et al. 2024, MiniCPM, arXiv:2404.06395).

    Args:
        steps: optimizer steps of the run, given by the task.
        warmup: optimizer steps of the rise.
        decay: share of the run that the fall takes, in [0, 1].
        final: the factor at the end.
    """

    def __init__(self, steps: int, warmup: int = 100, decay: float = 0.2, final: float = 0.0) -> None:
        if not 0 <= decay <= 1:
            raise UserError(f"decay is {decay}, but it is a share of the run: give a number from 0 to 1")
        fall = round(decay * steps)
        _check(steps, warmup, fall)
        self.warmup, self.fall, self.falls_at, self.final = warmup, fall, steps - fall, final

    def __call__(self, step: int) -> float:
        """The factor for optimizer step `step`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if step < self.falls_at:
            return 1.0
        share = min(1.0, (step - self.falls_at) / max(1, self.fall))
        return 1.0 + (self.final - 1.0) * share


def _check(steps: int, warmup: int, fall: int = 0) -> None:
    if warmup < 0:
        raise UserError(f"warmup is {warmup}: give a number of optimizer steps, 0 or more")
    if warmup + fall > steps:
        parts = f"{warmup} steps of warmup" + (f" and {fall} of decay" if fall else "")
        raise UserError(
            f"the schedule has {parts}, but the run has {steps} optimizer steps: raise trainer.max_steps, shorten "
            "model.schedule, or try a recipe by --trainer.fast_dev_run=true or --model.schedule=Constant"
        )
