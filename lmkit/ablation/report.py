"""The tables of an ablation, for people (`table.md`) and programs (`table.csv`, `runs.csv`), and what they say."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lmkit.ablation.budget import Cost
from lmkit.ablation.outcome import Outcome, Row
from lmkit.ablation.plan import Plan, Planned
from lmkit.ablation.statistics import LEVEL

UNTUNED = (
    "Seeds vary first weights, order of the text and dropout. What is not swapped, such as the learning rate, is the "
    "same for all arms and tuned for none; other sizes, lengths and texts may rank them otherwise."
)


def plan_table(plan: Plan, rows: Sequence[Row] = ()) -> str:
    """What each arm is given, before it is trained; with its speed, if rows are given."""
    lines = [["arm", "parameters", "MFLOPs a token", "steps", "tokens", "FLOPs"]]
    lines += [[planned.arm.name, *_given(planned)] for planned in plan.arms]
    if plan.equal == "time":
        _add(lines, "s a step", [f"{planned.cost.seconds_per_step or 0:.3g}" for planned in plan.arms])
    if rows:
        rates = [row.tokens_per_second for row in rows]
        _add(lines, "tokens a second", [f"{rate:,.0f}" if rate else "" for rate in rates])
    return _aligned(lines)


def result_table(outcome: Outcome) -> str:
    """What was reached, one line an arm."""
    rows = [["arm", outcome.measure, "std", "best", "seeds", "difference", "95 % interval", "p (Holm)"]]
    for row in outcome.rows:
        reached = [row.summary.mean, row.summary.deviation, row.best.mean]
        seeds = f"{row.summary.seeds} of {outcome.plan.seeds}"
        rows.append([row.planned.arm.name, *map(_number, reached), seeds, *_compared(row)])
    return _aligned(rows)


def verdict(outcome: Outcome) -> str:
    """Which differences exceed the noise between seeds, and how that was decided."""
    baseline, *others = outcome.rows
    tested = [row for row in others if row.comparison and row.comparison.tested]
    untested = [row for row in others if row not in tested]
    if not tested:
        return (
            "The noise between seeds is unknown, so no difference can be told from it: that takes two seeds or more of "
            "the baseline and of another arm. Give --seeds=3 or more; the runs that are there are kept."
        )
    above = [row for row in tested if row.comparison and row.comparison.significant]
    groups = {
        "better": [row for row in above if row.summary.mean < baseline.summary.mean],
        "worse": [row for row in above if row.summary.mean >= baseline.summary.mean],
    }
    lines = [f"Beside the baseline, {baseline.planned.arm.name}:", ""]
    lines += [
        f"- {name} by more than the noise between seeds: {_listed(rows)}" for name, rows in groups.items() if rows
    ]
    if within := [row for row in tested if row not in above]:
        lines.append(f"- within the noise between seeds, which does not show that they are equal: {_listed(within)}")
    if untested:
        lines.append(f"- not tested, for want of seeds: {'; '.join(row.planned.arm.name for row in untested)}")
    number = f"{len(tested)} comparisons" if len(tested) > 1 else "1 comparison"
    method = (
        f"Method: Welch's t-test, two-sided, on the {outcome.measure} of each seed's final validation; p adjusted by "
        f"Holm for {number} with the baseline, so that the chance of any false alarm is at most {LEVEL}; the intervals "
        "are not adjusted."
    )
    return "\n".join([*lines, "", f"{method} {UNTUNED}"])


def page(outcome: Outcome, command: str) -> str:
    """The whole of `table.md`."""
    same = {"flops": "training FLOPs", "time": "measured training time", "steps": "optimizer steps"}
    lines = ["# Ablation", "", f"    {command}", ""]
    lines += [f"Less is better. All arms were given the same {same[outcome.plan.equal]}; the first is the baseline."]
    if outcome.finished < len(outcome.runs):
        lines += ["", f"**{outcome.finished} of {len(outcome.runs)} runs are there: this is preliminary.**"]
    lines += ["", result_table(outcome), "", verdict(outcome), "", plan_table(outcome.plan, outcome.rows)]
    if outcome.failed:
        lines += ["", "Failed:", ""]
        lines += [f"- {run.planned.arm.name}, seed {run.seed}: {run.error}" for run in outcome.failed]
    return "\n".join([*lines, "", "![the arms](plot.png)", ""])


def write_table(path: Path, outcome: Outcome) -> None:
    """Writes the rows with all their digits."""
    heading = ["arm", *Cost._fields, "steps", "tokens", "flops", "tokens_per_second", "measure", "mean", "std", "seeds"]
    lines: list[list[Any]] = [[*heading, "difference", "low", "high", "p", "p_holm", "best_mean"]]
    for row in outcome.rows:
        planned = row.planned
        given = [planned.arm.name, *planned.cost, planned.steps, *totals(planned)]
        reached = [row.tokens_per_second, outcome.measure, *row.summary]
        lines.append([*given, *reached, *(row.comparison or [""] * 5), row.best.mean])
    _write(path, lines)


def write_runs(path: Path, outcome: Outcome) -> None:
    """Writes one line a run."""
    names = ["loss", "best_loss", "bits_per_byte", "best_bits_per_byte", "tokens_per_second"]
    lines: list[list[Any]] = [["arm", "seed", "folder", *names, "error"]]
    for run in outcome.runs:
        lines.append([run.planned.arm.name, run.seed, run.name, *(run.result or [""] * 5), run.error])
    _write(path, lines)


def totals(planned: Planned) -> tuple[int | None, float | None]:
    """Tokens and FLOPs of a run, where they are known."""
    cost = planned.cost
    tokens = cost.tokens_per_step * planned.steps if cost.tokens_per_step else None
    return tokens, cost.flops_per_step * planned.steps if cost.flops_per_step else None


def _given(planned: Planned) -> list[str]:
    """What an arm is, in five columns."""
    cost, (tokens, flops) = planned.cost, totals(planned)
    return [
        f"{cost.parameters:,}",
        f"{cost.flops_per_token / 1e6:,.3g}" if cost.flops_per_token else "",
        f"{planned.steps:,}",
        f"{tokens:,}" if tokens else "",
        f"{flops:.4g}" if flops else "",
    ]


def _compared(row: Row) -> list[str]:
    """Difference, interval and p in three columns."""
    found = row.comparison
    if found is None:
        return ["baseline", "", ""]
    interval = f"{found.low:+.4f} to {found.high:+.4f}" if found.tested else ""
    return [_signed(found.difference), interval, f"{found.adjusted:.2g}" if found.tested else ""]


def _listed(rows: Iterable[Row]) -> str:
    return "; ".join(
        f"{row.planned.arm.name} ({_signed(row.comparison.difference)}, p {row.comparison.adjusted:.2g})"
        for row in rows
        if row.comparison
    )


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _signed(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.4f}"


def _add(lines: list[list[str]], heading: str, cells: Sequence[str]) -> None:
    """Adds a column."""
    for line, cell in zip(lines, [heading, *cells], strict=True):
        line.append(cell)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that is read as well where Markdown is not rendered."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in padded]
    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _write(path: Path, lines: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
