"""The plan of an ablation: its arms with their full recipes, costs and steps, as it is kept in `ablation.json`."""

from typing import Any, NamedTuple

from lmkit.ablation.budget import Cost, Equal
from lmkit.ablation.grid import Arm


class Planned(NamedTuple):
    """An arm and all that is known of it before it is trained.

    Attributes:
        arm: its place in the grid.
        recipe: its full recipe, the first seed's.
        data: fingerprint of the tokens to train on, where the data has one.
        cost: what its steps cost.
        steps: optimizer steps of each of its runs; 0 until they are decided.
    """

    arm: Arm
    recipe: dict[str, Any]
    data: str | None
    cost: Cost
    steps: int = 0


class Plan(NamedTuple):
    """What is run: each arm with each seed.

    Attributes:
        equal: what all arms are given the same of.
        seeds: number of seeds.
        arms: all arms; the first is the baseline.
    """

    equal: Equal
    seeds: int
    arms: list[Planned]

    def as_json(self) -> dict[str, Any]:
        """Plain data, for a file."""
        arms = [
            {**planned._asdict(), "arm": planned.arm._asdict(), "cost": planned.cost._asdict()} for planned in self.arms
        ]
        return {"equal": self.equal, "seeds": self.seeds, "arms": arms}


def from_json(kept: dict[str, Any]) -> Plan:
    """The plan that `as_json` wrote."""
    arms = [
        Planned(
            Arm(kept_arm["arm"]["number"], kept_arm["arm"]["name"], tuple(kept_arm["arm"]["options"])),
            kept_arm["recipe"],
            kept_arm["data"],
            Cost(**kept_arm["cost"]),
            kept_arm["steps"],
        )
        for kept_arm in kept["arms"]
    ]
    return Plan(kept["equal"], kept["seeds"], arms)
