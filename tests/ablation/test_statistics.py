"""Welch's test against its formulas, Holm's adjustment against a worked example, and what cannot be tested."""

import math
import random

import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind

from lmkit.ablation.statistics import Comparison, compare, holm, summarize

BASE, OTHER, THIRD = [1.58, 1.60, 1.59], [1.55, 1.58, 1.54, 1.56], [1.62, 1.59]


def by_hand(values, base):
    """Difference, interval and p by Welch (1947) and the degrees of freedom of Satterthwaite (1946)."""
    means = [sum(x) / len(x) for x in (values, base)]
    squares = [sum((v - m) ** 2 for v in x) / (len(x) - 1) / len(x) for x, m in zip((values, base), means, strict=True)]
    error = math.sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(s**2 / (len(x) - 1) for s, x in zip(squares, (values, base), strict=True))
    difference = means[0] - means[1]
    reach = student.ppf(0.975, freedom) * error
    return difference, difference - reach, difference + reach, 2 * student.sf(abs(difference) / error, freedom)


def test_a_comparison_is_what_the_formulas_say():
    found = compare(BASE, [OTHER, THIRD])
    for values, comparison in zip((OTHER, THIRD), found, strict=True):
        assert comparison[:4] == pytest.approx(by_hand(values, BASE), rel=1e-9)
        assert comparison.p == pytest.approx(ttest_ind(values, BASE, equal_var=False).pvalue)
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
    assert summarize(BASE) == pytest.approx((1.59, 0.01, 3))
    assert summarize([2.0])[0] == 2.0
    assert math.isnan(summarize([2.0]).deviation)
    assert math.isnan(summarize([]).mean)


@pytest.mark.parametrize(("base", "other"), [([1.0], [2.0]), ([1.0, 1.1], [2.0]), ([], [2.0, 2.1]), ([1, 1], [2, 2])])
def test_without_noise_to_compare_with_nothing_is_tested(base, other):
    (found,) = compare(base, [other])
    assert not found.tested
    assert not found.significant
    assert math.isnan(found.low)


def test_a_difference_in_the_noise_is_not_significant_and_a_clear_one_is():
    assert Comparison(0.1, 0.05, 0.15, 0.01, 0.049).significant
    assert not Comparison(0.1, 0.05, 0.15, 0.01, 0.051).significant


def test_false_alarms_are_as_rare_as_promised():
    """Among 200 ablations of four equal arms with three seeds, about 5 % or fewer find any difference."""
    draw = random.Random(0)
    alarms = 0
    for _ in range(200):
        arms = [[draw.gauss(1.6, 0.01) for _ in range(3)] for _ in range(4)]
        alarms += any(comparison.significant for comparison in compare(arms[0], arms[1:]))
    assert alarms / 200 < 0.08
