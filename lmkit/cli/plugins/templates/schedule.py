"""Template, a schedule: write here what it is, who proposed it, when, and under which arXiv number."""

from lmkit.errors import UserError
from lmkit.optim import Schedule


class Template(Schedule):
    """A linear rise, then a linear fall to the end of the run.

    Args:
        steps: optimizer steps of the run, given by the task.
        warmup: optimizer steps of the rise.
        final: the factor at the end.
    """

    def __init__(self, steps: int, warmup: int = 100, final: float = 0.0) -> None:
        if not 0 <= warmup <= steps:
            raise UserError(f"warmup is {warmup} of the run's {steps} optimizer steps: give a number from 0 to {steps}")
        self.steps, self.warmup, self.final = steps, warmup, final

    def __call__(self, step: int) -> float:
        """The factor of the learning rate for optimizer step `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        share = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return 1.0 + (self.final - 1.0) * share
