"""Schedules: a function of the step alone, whose factors are numbers of 0 or more."""

import math

from lmkit.optim.schedules import Schedule
from lmkit.testing.given import STEPS
from lmkit.testing.results import Failed
from lmkit.testing.subject import Subject
from lmkit.testing.suite import check


@check("function of the step", (Schedule,), "compute the factor of `step` and the options alone, and clamp it at 0")
def of_the_step(subject: Subject) -> str | None:
    """All steps forward, then backward and by another schedule of the same options."""
    one, other = subject.make(), subject.make()
    steps = range(STEPS + 1)
    factors = [float(one(step)) for step in steps]
    for step, factor in zip(steps, factors, strict=True):
        if not math.isfinite(factor) or factor < 0:
            raise Failed(f"the factor of step {step} is {factor}")
    for step in reversed(steps):
        if float(one(step)) != factors[step] or float(other(step)) != factors[step]:
            raise Failed(f"step {step} has another factor when it is asked again", do="keep no state between calls")
    return f"{min(factors):.3g} to {max(factors):.3g}"
