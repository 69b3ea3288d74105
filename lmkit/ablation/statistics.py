"""Which differences exceed the noise between seeds: the paired t-test, with Holm's adjustment for several comparisons.

The i-th seed of all arms reads the same text in the same order and, where the shapes are the same, starts from the same
weights, so that their results rise and fall together. The test of each seed's difference (Student 1908, "The probable
error of a mean") leaves that common part out and is right however large it is; a test of two independent samples, such
as Welch's, counts it as noise. Holm (1979, "A simple sequentially rejective multiple test procedure") bounds the chance
of any false alarm among all comparisons.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

LEVEL = 0.05
"""The chance of a false alarm, of one comparison in the intervals, of any at all in the adjusted p values."""

ROUNDING = 1e-12
"""Differences that spread less than this are the same: what is left is the rounding of their subtraction."""

Judgement = Literal["better", "worse", "undecided", "within", "untested"]


class Summary(NamedTuple):
    """The seeds of one arm in numbers; nan where there are too few."""

    mean: float
    deviation: float
    seeds: int


class Comparison(NamedTuple):
    """One thing beside another, seed by seed; nan where there are too few seeds or no noise at all.

    Attributes:
        difference: mean over the seeds of its value less the other's.
        low: lower end of the 95 % interval of the difference, not adjusted.
        high: upper end.
        p: of the paired t-test, two-sided.
        adjusted: p after Holm's adjustment for all comparisons.
        pairs: seeds that both have.
    """

    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    pairs: int

    @property
    def tested(self) -> bool:
        """Whether there was enough to test."""
        return not math.isnan(self.adjusted)

    def judge(self, failed: int, failed_beside: int) -> Judgement:
        """What can be said of it, all comparisons considered; less is better.

        Whose seeds have failed is not called the better one: those that are left are the lucky ones.

        Args:
            failed: its number of failed runs.
            failed_beside: that of what it is compared with.
        """
        if not self.tested:
            return "untested"
        if self.adjusted >= LEVEL:
            return "within"
        if failed if self.difference < 0 else failed_beside:
            return "undecided"
        return "better" if self.difference < 0 else "worse"


def summarize(values: Sequence[float]) -> Summary:
    """Mean and sample standard deviation."""
    return Summary(
        statistics.fmean(values) if values else math.nan,
        statistics.stdev(values) if len(values) > 1 else math.nan,
        len(values),
    )


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusts p values: the smallest of m is multiplied by m, the next by m - 1, and none falls below one before it.

    A nan is no comparison, and stays.
    """
    adjusted, largest = list(ps), 0.0
    order = sorted((index for index, p in enumerate(ps) if not math.isnan(p)), key=lambda index: ps[index])
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, ps[index] * (len(order) - rank)))
        adjusted[index] = largest
    return adjusted


def compare(baseline: Mapping[int, float], others: Sequence[Mapping[int, float]]) -> list[Comparison]:
    """Compares each arm with the first one, by the seeds that both have; all are values by seed."""
    return compare_all([[other[seed] - baseline[seed] for seed in other if seed in baseline] for other in others])


def compare_all(differences: Sequence[Sequence[float]]) -> list[Comparison]:
    """One comparison for each list of differences, one a seed."""
    found = [_paired(each) for each in differences]
    adjusted = holm([comparison.p for comparison in found])
    return [comparison._replace(adjusted=p) for comparison, p in zip(found, adjusted, strict=True)]


def _paired(differences: Sequence[float]) -> Comparison:
    from scipy.stats import ttest_1samp  # noqa: PLC0415 (an extra)

    mean, deviation, pairs = summarize(differences)
    nothing = Comparison(mean, math.nan, math.nan, math.nan, math.nan, pairs)
    if pairs < 2:
        return nothing
    if deviation < ROUNDING:  # seeds make no difference to it: equal is equal, and any other difference is no noise
        return nothing._replace(low=0.0, high=0.0, p=1.0) if abs(mean) < ROUNDING else nothing
    test = ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(1 - LEVEL)
    return nothing._replace(low=float(low), high=float(high), p=float(test.pvalue))
