"""How long each arm is trained, so that all of them are given the same: FLOPs, time or optimizer steps.

The first arm is trained for as many steps as the recipe says; this is the budget. The steps of the others are scaled by
what one of their steps costs. Norms, activations and other elementwise work are not in the FLOPs, which are those of
matrix products, as in all published counts; time counts everything.
"""

from typing import Literal, NamedTuple, get_args

from lmkit.errors import UserError

Equal = Literal["flops", "time", "steps"]
KINDS: tuple[str, ...] = get_args(Equal)


class Cost(NamedTuple):
    """What an arm costs.

    Attributes:
        parameters: their number.
        flops_per_token: of training; none where they cannot be counted.
        tokens_per_step: tokens an optimizer step, over all ranks; none where the data does not tell.
        seconds_per_step: seconds an optimizer step, where it was measured.
    """

    parameters: int
    flops_per_token: float | None
    tokens_per_step: int | None
    seconds_per_step: float | None = None

    @property
    def flops_per_step(self) -> float | None:
        """FLOPs an optimizer step."""
        known = self.flops_per_token and self.tokens_per_step
        return self.flops_per_token * self.tokens_per_step if known else None  # type: ignore[operator]


def steps_of(equal: Equal, arm: str, cost: Cost, baseline: Cost, steps: int) -> int:
    """The optimizer steps of an arm, at least one.

    Args:
        equal: what all arms are given the same of.
        arm: its name.
        cost: its own.
        baseline: the first arm's.
        steps: the first arm's.

    Raises:
        UserError: the costs are not known.
    """
    if equal == "steps":
        return steps
    ours, theirs = (
        (cost.flops_per_step, baseline.flops_per_step)
        if equal == "flops"
        else (cost.seconds_per_step, baseline.seconds_per_step)
    )
    if not ours or not theirs:
        raise UserError(
            f"{arm}: its {equal} cannot be counted (a part of it does not run without numbers, or the data tells no "
            "batch_size and context): give --equal time or --equal steps"
        )
    return max(1, round(steps * theirs / ours))
