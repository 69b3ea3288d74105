"""What an ablation found: runs gathered into rows, one an arm, each compared with the first."""

from collections.abc import Sequence
from typing import NamedTuple

from lmkit.ablation.effects import Effect, effects
from lmkit.ablation.plan import Plan, Planned
from lmkit.ablation.results import Result
from lmkit.ablation.statistics import Comparison, Judgement, Summary, compare, summarize
from lmkit.errors import UserError


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
        values: its final measure by seed, counted from 0.
        summary: of the final measures.
        best: of the best measures of each seed.
        tokens_per_second: the mean over the seeds; none if it is not known.
        failed: number of its runs that failed.
        comparison: with the first arm; none of the first.
        judgement: what can be said of it; none of the first.
    """

    planned: Planned
    values: dict[int, float]
    summary: Summary
    best: Summary
    tokens_per_second: float | None
    failed: int
    comparison: Comparison | None = None
    judgement: Judgement | None = None


class Outcome(NamedTuple):
    """All rows, and what they are about.

    Attributes:
        plan: what was to be run.
        runs: all runs, of which some may not have ended.
        measure: what is compared, in words; less is better.
        rows: one an arm; the first is the baseline.
        effects: of the values of each axis, if there are several axes.
    """

    plan: Plan
    runs: Sequence[Run]
    measure: str
    rows: list[Row]
    effects: list[Effect]

    @property
    def finished(self) -> int:
        """Number of runs that have ended well."""
        return sum(run.result is not None for run in self.runs)

    @property
    def failed(self) -> list[Run]:
        """The runs that failed."""
        return [run for run in self.runs if run.error]


def gather(plan: Plan, runs: Sequence[Run]) -> Outcome:
    """Compares the arms by bits per byte, or by the loss where no run tells its bytes.

    Raises:
        UserError: some runs tell their bytes and others do not.
    """
    results = [run.result for run in runs if run.result]
    in_bits = bool(results) and results[0].bits is not None
    if any((result.bits is not None) != in_bits for result in results):
        raise UserError(
            "some runs left bits per byte and others only nats a token, which cannot be compared: compare arms whose "
            "task and data measure the same"
        )
    rows = [_row(planned, [run for run in runs if run.planned.arm == planned.arm], in_bits) for planned in plan.arms]
    first = rows[0]
    for number, found in enumerate(compare(first.values, [row.values for row in rows[1:]]), 1):
        row = rows[number]
        rows[number] = row._replace(comparison=found, judgement=found.judge(row.failed, first.failed))
    values, failed = [row.values for row in rows], [row.failed for row in rows]
    found_effects = effects([planned.arm for planned in plan.arms], values, failed)
    return Outcome(plan, runs, "bits per byte" if in_bits else "nats a token", rows, found_effects)


def _row(planned: Planned, runs: Sequence[Run], in_bits: bool) -> Row:
    """An arm with its runs, not yet compared."""
    ended = {run.offset: run.result for run in runs if run.result}
    final = {seed: result.bits if in_bits else result.loss for seed, result in ended.items()}
    best = [result.best_bits if in_bits else result.best_loss for result in ended.values()]
    rates = [result.tokens_per_second for result in ended.values() if result.tokens_per_second]
    values = {seed: value for seed, value in final.items() if value is not None}
    return Row(
        planned,
        values,
        summarize(list(values.values())),
        summarize([value for value in best if value is not None]),
        sum(rates) / len(rates) if rates else None,
        sum(bool(run.error) for run in runs),
    )
