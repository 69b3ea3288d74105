"""The picture of an ablation: one line an arm, with a dot for each seed, their mean and their spread."""

import math
from pathlib import Path
from typing import Any

from lmkit.ablation.outcome import Outcome, Row

BASELINE: dict[str, Any] = {"label": "baseline", "color": "black", "marker": "s"}
BEYOND: dict[str, Any] = {
    "label": "differs from the baseline by more than the noise",
    "color": "tab:orange",
    "marker": "D",
}
WITHIN: dict[str, Any] = {
    "label": "within the noise, or not decided",
    "color": "tab:blue",
    "marker": "D",
    "markerfacecolor": "white",
}


def draw(path: Path, outcome: Outcome) -> None:
    """Writes a PNG; arms without a result have an empty line."""
    from matplotlib.figure import Figure  # noqa: PLC0415 (an extra)

    rows = outcome.rows
    widest = max(len(row.planned.arm.name) for row in rows)
    figure = Figure(figsize=(5.5 + 0.075 * widest, 2.0 + 0.4 * len(rows)), layout="constrained")
    axes = figure.subplots()
    handles: dict[str, Any] = {}
    for place, row in enumerate(rows):
        look = _look(row)
        seeds = list(row.values.values())
        axes.plot(seeds, [place] * len(seeds), "o", color=look["color"], alpha=0.4, markersize=4)
        if row.values:
            spread = None if math.isnan(row.summary.deviation) else row.summary.deviation
            bar = axes.errorbar(row.summary.mean, place, xerr=spread, capsize=4, markersize=7, linestyle="", **look)
            handles[look["label"]] = bar
    if rows[0].values:
        axes.axvline(rows[0].summary.mean, color="black", linestyle=":", linewidth=1)
    axes.set_yticks(range(len(rows)), [row.planned.arm.name for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)  # the first arm on top
    axes.set_xlabel(f"{outcome.measure} (less is better); dots: seeds, bars: mean and standard deviation")
    axes.xaxis.label.set_fontsize("small")
    axes.grid(axis="x", alpha=0.3)
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=1, fontsize="small")
    figure.savefig(path, dpi=150, format="png")


def _look(row: Row) -> dict[str, Any]:
    if row.comparison is None:
        return BASELINE
    return BEYOND if row.judgement in ("better", "worse") else WITHIN
