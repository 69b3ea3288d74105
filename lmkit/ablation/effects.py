"""Main effects of a grid: what a value of an axis does beside the axis's first value, whatever the other axes are at.

A grid of three by three values has eight comparisons with its first arm, of three seeds each; but every value of an
axis was trained under all settings of the others. The difference is taken seed by seed within each setting, and its
mean over the settings is one number a seed; the spread of these says how sure it is. The settings are no sample (they
were chosen, and share each seed's text), so they lessen the noise of a seed's difference and do not count as further
seeds. See Montgomery, "Design and Analysis of Experiments", on factorial designs with blocks.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lmkit.ablation.grid import Arm
from lmkit.ablation.statistics import Comparison, compare_all


class Effect(NamedTuple):
    """A value of an axis beside the axis's first one.

    Attributes:
        level: such as `norm=LayerNorm`.
        first: such as `norm=RMSNorm`.
        settings: number of settings of the other axes.
        comparison: of the two, with p adjusted for all effects.
        failed: runs of its arms that failed.
        failed_first: those of the first value's arms.
    """

    level: str
    first: str
    settings: int
    comparison: Comparison
    failed: int
    failed_first: int


class _Pairs(NamedTuple):
    """The numbers of the arms that differ in one axis alone, as (with the first value, with the other)."""

    first: str
    level: str
    arms: list[tuple[int, int]]


def effects(arms: Sequence[Arm], values: Sequence[Mapping[int, float]], failed: Sequence[int]) -> list[Effect]:
    """All main effects; none of a grid in which one axis only has several values, whose arms say it all.

    Args:
        arms: of the grid.
        values: for each arm its results by seed.
        failed: for each arm its number of failed runs.
    """
    axes = [_pairs(arms, axis) for axis in range(len(arms[0].levels))]
    if sum(bool(pairs) for pairs in axes) < 2:
        return []
    every = [pairs for axis in axes for pairs in axis]
    compared = compare_all([_differences(pairs, values) for pairs in every])
    return [
        Effect(
            pairs.level,
            pairs.first,
            len(pairs.arms),
            comparison,
            sum(failed[other] for _, other in pairs.arms),
            sum(failed[one] for one, _ in pairs.arms),
        )
        for pairs, comparison in zip(every, compared, strict=True)
    ]


def _pairs(arms: Sequence[Arm], axis: int) -> list[_Pairs]:
    """One for each value of an axis but the first."""
    first, *others = dict.fromkeys(arm.levels[axis] for arm in arms)
    place = {arm.levels: number for number, arm in enumerate(arms)}
    ones = [arm.levels for arm in arms if arm.levels[axis] == first]
    return [
        _Pairs(first, level, [(place[one], place[*one[:axis], level, *one[axis + 1 :]]) for one in ones])
        for level in others
    ]


def _differences(pairs: _Pairs, values: Sequence[Mapping[int, float]]) -> list[float]:
    """For each seed that has ended in all of these arms, its difference, meant over the settings."""
    seeds = set.intersection(*(set(values[arm]) for pair in pairs.arms for arm in pair))
    return [statistics.fmean(values[other][seed] - values[one][seed] for one, other in pairs.arms) for seed in seeds]
