"""Equal FLOPs, time and steps, in numbers."""

import pytest

from lmkit.ablation.budget import Cost, steps_of
from lmkit.errors import UserError

BASE = Cost(100, 60.0, 10, 0.5)


@pytest.mark.parametrize(
    ("equal", "cost", "steps"),
    [
        ("flops", BASE, 440),
        ("flops", Cost(50, 30.0, 10), 880),
        ("flops", Cost(50, 60.0, 20), 220),
        ("flops", Cost(50, 90.0, 10), 293),  # 440 x 60 / 90 = 293.3
        ("flops", Cost(50, 1e9, 10), 1),
        ("time", Cost(50, None, None, 0.3), 733),  # 440 x 0.5 / 0.3 = 733.3
        ("steps", Cost(50, None, None), 440),
    ],
)
def test_steps_are_scaled_by_the_cost_of_a_step(equal, cost, steps):
    assert steps_of(equal, "arm", cost, BASE, 440) == steps


def test_the_flops_of_all_arms_differ_by_half_a_step_at_most():
    for flops in range(10, 200, 7):
        cost = Cost(1, float(flops), 10)
        spent = steps_of("flops", "arm", cost, BASE, 440) * cost.flops_per_step
        assert abs(spent - 440 * BASE.flops_per_step) <= cost.flops_per_step / 2


@pytest.mark.parametrize("cost", [Cost(1, None, 10), Cost(1, 60.0, None), Cost(1, 0.0, 10)])
def test_unknown_flops_are_told(cost):
    with pytest.raises(UserError, match="--equal time or --equal steps"):
        steps_of("flops", "norm=A", cost, BASE, 440)
