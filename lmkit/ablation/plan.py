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
        measured: what its losses are measured on and in, which all arms must have in common.
        cost: what its steps cost.
        steps: optimizer steps of each of its runs; 0 until they are decided.
    """

    arm: Arm
    recipe: dict[str, Any]
    data: str | None
    measured: dict[str, Any]
    cost: Cost
    steps: int = 0


class Plan(NamedTuple):
    """What is run: each arm with each seed.

    Attributes:
        equal: what all arms are given the same of.
        seeds: number of seeds.
        arms: all arms; the first is the baseline.
        code: what the runs are made by: version of lmkit, and a hash of each plugin.
    """

    equal: Equal
    seeds: int
    arms: list[Planned]
    code: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """Plain data, for a file."""
        arms = [
            {**planned._asdict(), "arm": planned.arm._asdict(), "cost": planned.cost._asdict()} for planned in self.arms
        ]
        return {"equal": self.equal, "seeds": self.seeds, "code": self.code, "arms": arms}


def from_json(kept: dict[str, Any]) -> Plan:
    """The plan that `as_json` wrote."""
    arms = []
    for one in kept["arms"]:
        kept_arm = one["arm"]
        arm = Arm(kept_arm["number"], kept_arm["name"], tuple(kept_arm["options"]), tuple(kept_arm["levels"]))
        arms.append(Planned(**{**one, "arm": arm, "cost": Cost(**one["cost"])}))
    return Plan(kept["equal"], kept["seeds"], arms, kept["code"])
