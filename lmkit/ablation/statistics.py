"""Which differences exceed the noise between seeds: Welch's t-test, with Holm's adjustment for several comparisons.

Welch (1947) lets the arms have different spreads and numbers of seeds; of the usual tests it keeps its promised rate of
false alarms best with few seeds (Colas et al. 2018, "How Many Random Seeds?", arXiv:1806.08295). Holm (1979, "A simple
sequentially rejective multiple test procedure") bounds the chance of any false alarm among all comparisons.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

LEVEL = 0.05
"""The chance of a false alarm, of one comparison in the intervals, of any at all in the adjusted p values."""


class Summary(NamedTuple):
    """The seeds of one arm in numbers; nan where there are too few."""

    mean: float
    deviation: float
    seeds: int


class Comparison(NamedTuple):
    """An arm beside the first one; nan where there are too few seeds or no noise at all.

    Attributes:
        difference: its mean less the first one's.
        low: lower end of the 95 % interval of the difference, not adjusted.
        high: upper end.
        p: of Welch's test, two-sided.
        adjusted: p after Holm's adjustment for all comparisons.
    """

    difference: float
    low: float
    high: float
    p: float
    adjusted: float

    @property
    def tested(self) -> bool:
        """Whether there was enough to test."""
        return not math.isnan(self.adjusted)

    @property
    def significant(self) -> bool:
        """Whether the difference exceeds the noise, all comparisons considered."""
        return self.adjusted < LEVEL


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


def compare(baseline: Sequence[float], others: Sequence[Sequence[float]]) -> list[Comparison]:
    """Compares each arm's values, one a seed, with the first arm's."""
    found = [_welch(other, baseline) for other in others]
    adjusted = holm([comparison.p for comparison in found])
    return [comparison._replace(adjusted=p) for comparison, p in zip(found, adjusted, strict=True)]


def _welch(values: Sequence[float], baseline: Sequence[float]) -> Comparison:
    from scipy.stats import ttest_ind  # noqa: PLC0415 (an extra)

    ours, theirs = summarize(values), summarize(baseline)
    untested = Comparison(ours.mean - theirs.mean, *[math.nan] * 4)
    if min(ours.seeds, theirs.seeds) < 2 or ours.deviation == theirs.deviation == 0:
        return untested
    test = ttest_ind(values, baseline, equal_var=False)
    low, high = test.confidence_interval(1 - LEVEL)
    return untested._replace(low=float(low), high=float(high), p=float(test.pvalue))
