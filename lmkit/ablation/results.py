"""What a run reached, read from its `metrics.csv`."""

import csv
import statistics
from pathlib import Path
from typing import NamedTuple

LOSS, BITS, RATE = "val/loss", "val/bits_per_byte", "perf/tokens_per_second"


class Result(NamedTuple):
    """The measures of a finished run.

    Attributes:
        loss: of the final validation, in nats a token.
        best_loss: the lowest of all validations.
        bits: bits per byte of the final validation; none where the data does not tell its bytes.
        best_bits: the lowest of all validations.
        tokens_per_second: the median while it trained; none of a run too short to tell.
    """

    loss: float
    best_loss: float
    bits: float | None
    best_bits: float | None
    tokens_per_second: float | None


def read(run: Path, steps: int) -> Result | None:
    """The result of a run; none if it has not come to the validation after its last step.

    Args:
        run: the folder of its versions.
        steps: optimizer steps of the run.
    """
    for path in run.glob("version_*/metrics.csv"):
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")  # a row that was cut has no end of line
        rows = list(csv.DictReader(whole.splitlines()))
        validations = [row for row in rows if row.get(LOSS)]
        if validations and int(validations[-1]["step"]) >= steps - 1:  # the file counts steps from 0
            losses, bits, rates = (_column(rows, name) for name in (LOSS, BITS, RATE))
            return Result(
                losses[-1],
                min(losses),
                bits[-1] if bits else None,
                min(bits, default=None),
                statistics.median(rates[1:] or rates) if rates else None,
            )
    return None


def _column(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if row.get(name)]
