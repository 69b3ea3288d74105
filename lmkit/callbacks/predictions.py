"""Writes what `lmkit predict` finds."""

import json
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from lmkit.errors import UserError
from lmkit.tasks import Task


class Predictions(Callback):
    """Writes lines of JSON: as a rule one a row of text, with its loss in nats a token, number of tokens, and text.

    Args:
        path: the file, written whole at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[str] = []

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
        told = pl_module.predictions(outputs, batch)
        self._lines += [json.dumps(row, ensure_ascii=False) for row in told]

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the file."""
        partial = self.path.with_suffix(".partial")
        partial.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
        partial.replace(self.path)
        print(f"{len(self._lines)} rows: {self.path}")
