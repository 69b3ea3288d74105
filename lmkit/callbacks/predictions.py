"""Writes what `lmkit predict` finds."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lmkit.errors import UserError
from lmkit.tasks import Task


class Predictions(Callback):
    """Writes lines of JSON, one or more for each row, in the order of the rows; null stands for what is no number.

    Args:
        path: the file, written whole at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told: list[dict[str, Any]] = []

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuses several ranks.

        Raises:
            UserError: there are several.
        """
        if trainer.world_size > 1:
            raise UserError(
                f"predict writes one file, but runs on {trainer.world_size} ranks: set trainer.devices to 1"
            )

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: Task,  # type: ignore[override]
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps what the task tells of a batch."""
        self._told += pl_module.predictions(outputs, batch, batch_idx)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        self._told.sort(key=lambda told: told.get("row", 0))
        name = getattr(trainer.datamodule, "row_name", _numbered)  # type: ignore[attr-defined]
        named = [{**told, "row": name(told["row"])} if "row" in told else told for told in self._told]
        told = [json.dumps(row, ensure_ascii=False) for row in named]
        lines = [json.dumps(json.loads(line, parse_constant=_null), ensure_ascii=False) for line in told]
        partial = self.path.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
        partial.replace(self.path)
        print(f"{len(lines)} lines: {self.path}")
        if lost := sum(line != kept for line, kept in zip(told, lines, strict=True)):
            print(
                f"{lost} of them have null where {trainer.precision} gave no number: predict with "
                "--trainer.precision=32-true"
            )


def _null(constant: str) -> None:
    """What stands for NaN and the infinities, which JSON cannot hold."""


def _numbered(row: int) -> str:
    return f"row {row + 1}"
