"""What an ablation found: runs gathered into rows, one an arm, each compared with the first."""

from collections.abc import Sequence
from typing import NamedTuple

from lmkit.ablation.plan import Plan, Planned
from lmkit.ablation.results import Result
from lmkit.ablation.statistics import Comparison, Summary, compare, summarize


class Run(NamedTuple):
    """One arm with one seed.

    Attributes:
        planned: the arm.
        seed: of its initial weights.
        offset: the seed less the first one.
        result: what it reached; none where it has not ended, or failed.
        error: why it failed.
    """

    planned: Planned
    seed: int
    offset: int
    result: Result | None = None
    error: str = ""

    @property
    def name(self) -> str:
        """Its folder under `runs/`."""
        return f"{self.planned.arm.folder}-seed{self.seed}"


class Row(NamedTuple):
    """An arm with all of its seeds.

    Attributes:
        planned: the arm.
        values: its final measures, one a seed.
        summary: of the final measures.
        best: of the best measures of each seed.
        tokens_per_second: the mean over the seeds; none if it is not known.
        comparison: with the first arm; none of the first.
    """

    planned: Planned
    values: list[float]
    summary: Summary
    best: Summary
    tokens_per_second: float | None
    comparison: Comparison | None


class Outcome(NamedTuple):
    """All rows, and what they are about.

    Attributes:
        plan: what was to be run.
        runs: all runs, of which some may not have ended.
        measure: what is compared, in words; less is better.
        rows: one an arm; the first is the baseline.
    """

    plan: Plan
    runs: Sequence[Run]
    measure: str
    rows: list[Row]

    @property
    def finished(self) -> int:
        """Number of runs that have ended well."""
        return sum(run.result is not None for run in self.runs)

    @property
    def failed(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.error]


def gather(plan: Plan, runs: Sequence[Run]) -> Outcome:
    """Compares the arms by bits per byte, or by the loss where one run does not tell its bytes."""
    results = [run.result for run in runs if run.result]
    in_bits = bool(results) and all(result.bits is not None for result in results)
    rows: list[Row] = []
    for planned in plan.arms:
        own = [run.result for run in runs if run.result and run.planned.arm == planned.arm]
        final = [result.bits if in_bits else result.loss for result in own]
        best = [result.best_bits if in_bits else result.best_loss for result in own]
        rates = [result.tokens_per_second for result in own if result.tokens_per_second]
        values = [value for value in final if value is not None]
        rows.append(
            Row(
                planned,
                values,
                summarize(values),
                summarize([value for value in best if value is not None]),
                sum(rates) / len(rates) if rates else None,
                None,
            )
        )
    comparisons = compare(rows[0].values, [row.values for row in rows[1:]])
    compared = [row._replace(comparison=found) for row, found in zip(rows[1:], comparisons, strict=True)]
    return Outcome(plan, runs, "bits per byte" if in_bits else "nats a token", [rows[0], *compared])
