"""Measures what an optimizer step takes, for comparisons at equal time, and then ends the run."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Stopwatch(Callback):
    """Writes the mean seconds of an optimizer step to a file.

    Args:
        path: of the file, JSON with one key, `seconds_per_step`.
        skipped: optimizer steps that are not measured, in which memory is found and kernels are compiled.
        steps: the fewest optimizer steps that are measured.
        seconds: the least time that is measured.
    """

    def __init__(self, path: str, skipped: int = 3, steps: int = 5, seconds: float = 20.0) -> None:
        self.path, self.skipped, self.steps, self.seconds = Path(path), skipped, steps, seconds
        self._start: tuple[int, float] | None = None  # step and time
        self._step = 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Starts the clock, or looks at it and stops, after a whole optimizer step."""
        if trainer.global_step == self._step:  # in the midst of one
            return
        self._step = trainer.global_step
        if self._step < self.skipped:
            return
        if pl_module.device.type == "cuda":  # which is handed work before it is done
            torch.cuda.synchronize(pl_module.device)
        now = time.perf_counter()
        if self._start is None:
            self._start = self._step, now
            return
        measured, passed = self._step - self._start[0], now - self._start[1]
        if measured >= self.steps and passed >= self.seconds:
            self.path.write_text(json.dumps({"seconds_per_step": passed / measured}), encoding="utf-8")
            trainer.should_stop = True
