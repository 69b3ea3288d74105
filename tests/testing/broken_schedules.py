"""Schedules that break the contract, each in one way."""

from lmkit.optim.schedules import Schedule


class BrokenCounter(Schedule):
    """Counts its calls.

    Args:
        steps: unused, given by the task.
    """

    def __init__(self, steps: int) -> None:
        self.calls = 0

    def __call__(self, step: int) -> float:
        self.calls += 1
        return 1 / self.calls


class BrokenFall(Schedule):
    """Falls below 0.

    Args:
        steps: optimizer steps of the run, given by the task.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, step: int) -> float:
        return 1 - 2 * step / self.steps
