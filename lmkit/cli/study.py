"""From the options of `lmkit ablate` to its plan: every arm is parsed, built and compared with what is kept."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lmkit.ablation.budget import steps_of
from lmkit.ablation.code import changes
from lmkit.ablation.grid import Arm
from lmkit.ablation.plan import Plan, Planned
from lmkit.cli.measured import check_alike, hash_text, measured
from lmkit.cli.parser import mistakes_told
from lmkit.cli.rehearsal import Rehearsal
from lmkit.cli.resume import differences
from lmkit.errors import UserError

SEEDS = 2**32
"""Seeds are below this number."""


def rehearse(name: str, fit: Sequence[str], arms: Sequence[Arm], kept: Plan | None, seeds: int) -> list[Rehearsal]:
    """Parses each arm and builds it on the meta device, before anything is trained.

    Args:
        name: the recipe's.
        fit: the options of `lmkit fit` that all arms share, without `--plugins`.
        arms: the grid.
        kept: the plan of an ablation that is gone on with, whose precision is taken where none is named.
        seeds: number of seeds.

    Raises:
        UserError: an arm has a mistake, or two are the same.
    """
    precisions = {planned.arm.name: planned.recipe["trainer"]["precision"] for planned in kept.arms} if kept else {}
    found: list[Rehearsal] = []
    seen: dict[str, str] = {}
    for arm in arms:
        try:
            rehearsal = _rehearsal(name, [*fit, *arm.options], precisions.get(arm.name), seeds)
        except UserError as error:
            if _is_of_all(name, fit, seeds, str(error)):
                raise
            raise UserError(f"the arm {arm.name}: {error}") from error
        text = json.dumps(rehearsal.recipe, sort_keys=True)
        if text in seen:
            raise UserError(f"the arms {seen[text]} and {arm.name} have the same recipe: take one of them out")
        seen[text] = arm.name
        found.append(rehearsal)
    return found


def _rehearsal(name: str, options: Sequence[str], precision: str | None, seeds: int) -> Rehearsal:
    """An arm, parsed, built and looked through."""
    with mistakes_told():
        rehearsal = Rehearsal(name, options, precision)
        rehearsal.check_measurable(name)
    first = rehearsal.options.seed_everything
    if not 0 <= first <= SEEDS - seeds:
        raise UserError(
            f"seed_everything is {first} and --seeds {seeds}, but seeds run from 0 to {SEEDS - 1}: give smaller ones"
        )
    return rehearsal


def _is_of_all(name: str, fit: Sequence[str], seeds: int, told: str) -> bool:
    """Whether a mistake is there without any swap, too."""
    try:
        _rehearsal(name, fit, None, seeds)
    except UserError as error:
        return str(error) == told
    return False


def prepare(rehearsals: Sequence[Rehearsal], arms: Sequence[Arm]) -> list[tuple[str | None, dict[str, Any]]]:
    """Prepares the data of all arms, each kind once, and gives their fingerprints and what they are measured by.

    Raises:
        UserError: the data cannot be prepared, does not fit an arm, or arms are not measured alike.
    """
    prepared: dict[str, tuple[Rehearsal, str]] = {}
    found = []
    for rehearsal, arm in zip(rehearsals, arms, strict=True):
        with _of(arm), mistakes_told():
            key = json.dumps(rehearsal.recipe["data"], sort_keys=True)
            if key in prepared:
                rehearsal.datamodule = prepared[key][0].datamodule
            fingerprint = rehearsal.prepare(opened=key in prepared)
            if key not in prepared:
                prepared[key] = rehearsal, hash_text(rehearsal.datamodule.validation_text())
            measure = measured(rehearsal.datamodule, prepared[key][1], rehearsal.model, rehearsal.recipe)
            found.append((fingerprint, measure))
    check_alike(arms, [measure for _, measure in found])
    return found


def decide_steps(plan: Plan, rehearsals: Sequence[Rehearsal]) -> Plan:
    """The plan with the steps of each arm, for which each arm's schedule is then built.

    Raises:
        UserError: a cost is not known, or the schedule does not fit the steps.
    """
    arms: list[Planned] = []
    for planned, rehearsal in zip(plan.arms, rehearsals, strict=True):
        base = plan.arms[0].cost
        steps = steps_of(plan.equal, planned.arm.name, planned.cost, base, rehearsals[0].steps)
        with _of(planned.arm):
            rehearsal.rehearse(steps)
        arms.append(planned._replace(steps=steps))
    return plan._replace(arms=arms)


def check_same(kept: Plan, given: Plan, where: str) -> None:
    """Compares the plan of a folder with what is asked for; only the number of seeds may grow.

    Args:
        kept: the folder's.
        given: what is asked for; arms whose steps are 0 are compared without them.
        where: the folder.

    Raises:
        UserError: they differ.
    """
    other = list(_other(kept, given))
    if other:
        raise UserError(
            f"{where} holds another ablation ({'; '.join(other[:3])}{'; and more' if other[3:] else ''}): give the "
            "same options to go on with it, or choose another folder by --out"
        )


def _other(kept: Plan, given: Plan) -> Iterator[str]:
    if kept.equal != given.equal:
        yield f"--equal was {kept.equal} and is {given.equal}"
    if kept.seeds > given.seeds:
        yield f"--seeds was {kept.seeds} and is {given.seeds}, but may only grow"
    yield from changes(kept.code, given.code)
    names = [[planned.arm.name for planned in plan.arms] for plan in (kept, given)]
    if names[0] != names[1]:
        yield f"the arms were {'; '.join(names[0])} and are {'; '.join(names[1])}"
        return
    for before, now in zip(kept.arms, given.arms, strict=True):
        lines = differences("", before.recipe, now.recipe)
        found = [f"{before.arm.name}: {line.removeprefix('.')}" for line in lines]
        if not found and before.data != now.data:
            found = [f"{before.arm.name}: the text that it is trained on has changed"]
        if not found and before.measured != now.measured:
            found = [f"{before.arm.name}: what it is measured on has changed"]
        if not found and now.steps and before.steps and before.steps != now.steps:
            found = [f"{before.arm.name}: its steps were {before.steps} and are {now.steps}"]
        yield from found


@contextmanager
def _of(arm: Arm) -> Iterator[None]:
    """Names the arm in which a mistake was found."""
    try:
        yield
    except UserError as error:
        raise UserError(f"the arm {arm.name}: {error}") from error
