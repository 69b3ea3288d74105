"""The paired test against its formulas, Holm's adjustment against a worked example, and what cannot be tested."""

import math
import random

import pytest
from scipy.stats import t as student
from scipy.stats import ttest_rel

from lmkit.ablation.effects import effects
from lmkit.ablation.grid import grid, parse_swap
from lmkit.ablation.statistics import Comparison, compare, holm, summarize

BASE = dict(enumerate([1.58, 1.60, 1.59, 1.61]))
OTHER = dict(enumerate([1.55, 1.58, 1.54, 1.56]))
THIRD = {1: 1.62, 3: 1.59}


def by_hand(values, base):
    """Difference, interval and p by Student (1908)."""
    differences = [values[seed] - base[seed] for seed in values]
    n, mean = len(differences), sum(differences) / len(differences)
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1) / n)
    reach = student.ppf(0.975, n - 1) * error
    return mean, mean - reach, mean + reach, 2 * student.sf(abs(mean) / error, n - 1)


def test_a_comparison_is_what_the_formulas_say():
    found = compare(BASE, [OTHER, THIRD])
    for values, comparison in zip((OTHER, THIRD), found, strict=True):
        assert comparison[:4] == pytest.approx(by_hand(values, BASE), rel=1e-9)
        assert comparison.pairs == len(values)
    assert found[0].p == pytest.approx(ttest_rel(list(OTHER.values()), list(BASE.values())).pvalue)
    assert [c.adjusted for c in found] == pytest.approx([min(1.0, 2 * found[0].p), found[1].p])


def test_holm_agrees_with_a_worked_example():
    """p of 0.01, 0.04, 0.03, 0.005 (sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, then 0.04, which may not fall below 0.06)."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    adjusted = holm([0.01, math.nan, 0.03])
    assert adjusted[::2] == pytest.approx([0.02, 0.03])
    assert math.isnan(adjusted[1])
    assert holm([]) == []


def test_seeds_are_summarized():
    assert summarize(list(THIRD.values())) == pytest.approx((1.605, 0.03 / math.sqrt(2), 2))
    assert summarize([2.0])[0] == 2.0
    assert math.isnan(summarize([2.0]).deviation)
    assert math.isnan(summarize([]).mean)


@pytest.mark.parametrize(
    ("base", "other", "pairs"),
    [
        ({0: 1.0}, {0: 2.0}, 1),
        ({0: 1.0, 1: 1.1}, {0: 2.0}, 1),
        ({0: 1.0, 1: 1.1}, {2: 2.0, 3: 2.1}, 0),
        ({}, {0: 2.0, 1: 2.1}, 0),
        ({0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}, 2),
        ({0: 1.6, 1: 1.7, 2: 1.9}, {0: 1.5, 1: 1.6, 2: 1.8}, 3),  # but for rounding the same difference
    ],
)
def test_without_noise_to_compare_with_nothing_is_tested(base, other, pairs):
    (found,) = compare(base, [other])
    assert found.judge(0, 0) == "untested"
    assert math.isnan(found.low)
    assert found.pairs == pairs


def test_what_is_the_same_for_all_seeds_is_within_the_noise():
    (found,) = compare(BASE, [BASE])
    assert found == (0.0, 0.0, 0.0, 1.0, 1.0, 4)


def test_a_difference_in_the_noise_is_not_significant_and_a_clear_one_is():
    assert Comparison(0.1, 0.05, 0.15, 0.01, 0.049, 3).judge(0, 0) == "worse"
    assert Comparison(-0.1, -0.15, -0.05, 0.01, 0.049, 3).judge(0, 0) == "better"
    assert Comparison(0.1, 0.05, 0.15, 0.01, 0.051, 3).judge(0, 0) == "within"


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_false_alarms_are_as_rare_as_promised(shared):
    """Among 300 ablations of four equal arms with three seeds, about 5 % or fewer find any difference."""
    draw = random.Random(0)
    alarms = 0
    for _ in range(300):
        arms = seeds_of(draw, [0.0] * 4, shared)
        alarms += any(found.adjusted < 0.05 for found in compare(arms[0], arms[1:]))
    assert alarms / 300 < 0.08


def test_what_seeds_have_in_common_is_no_noise():
    """Of arms 2 standard deviations apart whose seeds correlate by 0.9, nearly all are found (by Welch's test half)."""
    draw = random.Random(0)
    found = 0
    for _ in range(200):
        base, other = seeds_of(draw, [0.0, 2.0], 0.9)
        found += compare(base, [other])[0].adjusted < 0.05
    assert found / 200 > 0.9


def seeds_of(draw, means, shared, seeds=3):
    """Results of unit variance by seed for each arm, of which a share is the seed's own."""
    common = [draw.gauss(0, math.sqrt(shared)) for _ in range(seeds)]
    return [{s: m + common[s] + draw.gauss(0, math.sqrt(1 - shared)) for s in range(seeds)} for m in means]


GRID = grid([parse_swap("m.norm=A,B,C"), parse_swap("m.position=X,Y,Z")])


def test_effects_are_differences_of_means():
    values = [{seed: number * number + seed * (number % 2) for seed in range(3)} for number in range(9)]
    found = effects(GRID, values, [0, 0, 1, 0, 2, 0, 0, 0, 0])
    assert [(e.level, e.first, e.settings) for e in found] == [
        ("norm=B", "norm=A", 3),
        ("norm=C", "norm=A", 3),
        ("position=Y", "position=X", 3),
        ("position=Z", "position=X", 3),
    ]
    mean = [sum(value.values()) / 3 for value in values]
    assert found[0].comparison.difference == pytest.approx(sum(mean[3:6]) / 3 - sum(mean[:3]) / 3)
    assert found[3].comparison.difference == pytest.approx(sum(mean[2::3]) / 3 - sum(mean[::3]) / 3)
    assert [(e.failed, e.failed_first) for e in found] == [(2, 1), (0, 1), (2, 0), (1, 0)]


def test_a_seed_counts_for_an_effect_when_all_of_its_arms_have_ended():
    values = [{0: 1.0, 1: 1.1, 2: 1.3} for _ in range(9)]
    del values[4][1]  # of norm=B and position=Y
    assert [e.comparison.pairs for e in effects(GRID, values, [0] * 9)] == [2, 3, 2, 3]


def test_one_axis_has_no_effects_beside_its_arms():
    assert effects(grid([parse_swap("a=1,2,3")]), [{}] * 3, [0] * 3) == []
    assert effects(grid([parse_swap("a=1,2,3"), parse_swap("b=1")]), [{}] * 3, [0] * 3) == []


def test_effects_raise_no_more_false_alarms_where_seeds_and_values_interact():
    """A seed that suits a norm suits it under all positions: the three settings are no nine independent differences."""
    draw = random.Random(0)
    alarms = 0
    for _ in range(300):
        suits = [[draw.gauss(0, 1) for _ in range(3)] for _ in range(3)]
        values = [{s: suits[n // 3][s] + draw.gauss(0, 1) for s in range(3)} for n in range(9)]
        alarms += any(e.comparison.adjusted < 0.05 for e in effects(GRID, values, [0] * 9))
    assert alarms / 300 < 0.08


def test_effects_find_what_single_arms_do_not():
    """A norm that is worse by 1.5 standard deviations in each of three settings, with three seeds."""
    draw = random.Random(0)
    by_effects = by_arms = 0
    for _ in range(200):
        values = seeds_of(draw, [0, 0, 0, 1.5, 1.5, 1.5, 0, 0, 0], 0.7)
        by_effects += effects(GRID, values, [0] * 9)[0].comparison.adjusted < 0.05
        by_arms += compare(values[0], values[1:])[2].adjusted < 0.05
    assert by_effects > 3 * by_arms
