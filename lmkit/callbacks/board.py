"""The page of TensorBoard, without what says nothing there."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only


class Board(TensorBoardLogger):
    """Lightning's TensorBoard logger without the epoch, which stays 0, and without an empty file of hyperparameters.

    Args:
        folder: the run's folder.
        resumed_step: optimizer step that the run goes on from; what was logged later is hidden.
    """

    def __init__(self, folder: Path, resumed_step: int = 0) -> None:
        purge: dict[str, Any] = {"purge_step": resumed_step} if resumed_step else {}
        super().__init__(folder.parent.parent, folder.parent.name, folder.name, default_hp_metric=False, **purge)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes the metrics of a step."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def save(self) -> None:
        """Writes out what is waiting."""
        self.experiment.flush()
