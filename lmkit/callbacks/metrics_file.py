"""Metrics as `metrics.csv`, gone on with when a run is resumed in its folder."""

import csv
import warnings
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger


class MetricsFile(CSVLogger):
    """Lightning's CSV logger, which deletes an earlier file of the same folder; this one keeps its rows.

    Args:
        folder: the run's folder.
        resumed_step: optimizer step that the run goes on from; later rows are dropped, because they will be repeated.
    """

    def __init__(self, folder: Path, resumed_step: int = 0) -> None:
        super().__init__(folder.parent.parent, folder.parent.name, folder.name)
        self._resumed_step = resumed_step

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, which has written the earlier rows again."""
        if self._experiment is None:
            rows = self._earlier_rows()
            with warnings.catch_warnings():  # it warns that it deletes
                warnings.simplefilter("ignore")
                writer = super().experiment
            writer.metrics = rows
            writer.save()
        return self._experiment

    def _earlier_rows(self) -> list[dict[str, Any]]:
        path = Path(self.log_dir) / "metrics.csv"
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
        return [row for row in rows if int(row["step"]) < self._resumed_step]
