"""What `lmkit predict` writes of a task: lines of JSON, each of one row, whatever the batches are."""

import json
from typing import Any

import torch
from lightning import LightningModule

from lmkit.tasks import Task
from lmkit.testing.results import Failed, NotApplicable, counted
from lmkit.testing.suite import check
from lmkit.testing.tasking import Tasking

ROWS = 4


@check("predictions", (Task,), "count the rows of earlier batches in `row`, and tell plain values")
def predictions(subject: Tasking) -> str | None:
    """A batch in halves is told as the whole one is, each line by its row, in what JSON can hold."""
    task, held = subject.built(), subject.rows()
    if type(task).predict_step is LightningModule.predict_step:
        raise NotApplicable("it has no predict_step")
    whole = _told(task, held.batch(range(ROWS)), 0)
    halves = [range(ROWS // 2), range(ROWS // 2, ROWS)]
    parts = [line for number, half in enumerate(halves) for line in _told(task, held.batch(half), number)]
    if [_words(line) for line in parts] != [_words(line) for line in whole]:
        raise Failed(f"a batch in halves is told by {_summary(parts)}, the whole one by {_summary(whole)}")
    return counted(len(whole), "line")


def _told(task: Any, batch: Any, number: int) -> list[dict[str, Any]]:
    """The lines of a batch, by their rows."""
    with torch.no_grad():
        lines = list(task.predictions(task.predict_step(batch), batch, number))
    for line in lines:
        try:
            json.dumps(line)
        except (TypeError, ValueError) as error:
            raise Failed(f"JSON cannot hold a line: {error}") from error
    return sorted(lines, key=lambda line: line.get("row", 0))


def _words(line: dict[str, Any]) -> dict[str, Any]:
    """A line without its numbers, whose last digits a batch may change, but with that of its row."""
    return {name: value for name, value in line.items() if name == "row" or isinstance(value, str)}


def _summary(lines: list[dict[str, Any]]) -> str:
    rows = ", ".join(str(line.get("row", "none")) for line in lines[:8])
    return f"{counted(len(lines), 'line')} of rows {rows or 'none'}"
