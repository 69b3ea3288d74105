"""The tables of an ablation, for people (`table.md`) and programs (`table.csv`, `runs.csv`), and what they say."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmkit.ablation.budget import Cost
from lmkit.ablation.outcome import Outcome, Row
from lmkit.ablation.plan import Plan, Planned
from lmkit.ablation.statistics import Comparison
from lmkit.ablation.verdict import measured_alike, verdict

COMPARED = ["difference", "low", "high", "p", "p_holm", "pairs"]
"""The columns of a comparison, in its order."""


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
        seeds = _seeds(row.summary.seeds, row.failed, outcome)
        compared = _compared(row.comparison) if row.comparison else ["baseline", "", ""]
        rows.append([row.planned.arm.name, *map(_number, reached), seeds, *compared])
    return _aligned(rows)


def effect_table(outcome: Outcome) -> str:
    """What each value of an axis does over all settings of the other axes; of grids with several axes."""
    rows = [["over all other axes", "beside", "settings", "seeds", "difference", "95 % interval", "p (Holm)"]]
    for effect in outcome.effects:
        seeds = _seeds(effect.comparison.pairs, effect.failed + effect.failed_first, outcome)
        rows.append([effect.level, effect.first, str(effect.settings), seeds, *_compared(effect.comparison)])
    return _aligned(rows)


def page(outcome: Outcome, command: str) -> str:
    """The whole of `table.md`."""
    same = {"flops": "training FLOPs", "time": "measured training time", "steps": "optimizer steps"}
    lines = ["# Ablation", "", f"    {command}", ""]
    lines += [f"Less is better. All arms were given the same {same[outcome.plan.equal]}; the first is the baseline."]
    lines[-1] += measured_alike(outcome)
    if outcome.finished < len(outcome.runs):
        lines += ["", f"**{outcome.finished} of {len(outcome.runs)} runs are there: this is preliminary.**"]
    lines += ["", result_table(outcome), ""]
    lines += [effect_table(outcome), ""] if outcome.effects else []
    lines += [verdict(outcome), "", plan_table(outcome.plan, outcome.rows)]
    if outcome.failed:
        lines += ["", "Failed:", ""]
        lines += [f"- {run.planned.arm.name}, seed {run.seed}: {run.error}" for run in outcome.failed]
    return "\n".join([*lines, "", "![the arms](plot.png)", ""])


def write_table(path: Path, outcome: Outcome) -> None:
    """Writes the rows with all their digits."""
    heading = ["arm", *Cost._fields, "steps", "tokens", "flops", "tokens_per_second", "measure", "mean", "std", "seeds"]
    lines: list[list[Any]] = [[*heading, "failed", *COMPARED, "best_mean"]]
    for row in outcome.rows:
        planned = row.planned
        given = [planned.arm.name, *planned.cost, planned.steps, *totals(planned)]
        reached = [row.tokens_per_second, outcome.measure, *row.summary, row.failed]
        lines.append([*given, *reached, *(row.comparison or [""] * len(COMPARED)), row.best.mean])
    _write(path, lines)


def write_effects(path: Path, outcome: Outcome) -> None:
    """Writes the main effects with all their digits."""
    lines: list[list[Any]] = [["level", "beside", "settings", "failed", "failed_beside", *COMPARED]]
    for effect in outcome.effects:
        what = [effect.level, effect.first, effect.settings, effect.failed, effect.failed_first]
        lines.append([*what, *effect.comparison])
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


def _compared(found: Comparison) -> list[str]:
    """Difference, interval and p in three columns."""
    interval = f"{found.low:+.4f} to {found.high:+.4f}" if found.tested else ""
    return [_signed(found.difference), interval, f"{found.adjusted:.2g}" if found.tested else ""]


def _seeds(there: int, failed: int, outcome: Outcome) -> str:
    return f"{there} of {outcome.plan.seeds}{f', {failed} failed' if failed else ''}"


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
