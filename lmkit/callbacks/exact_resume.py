"""What Lightning leaves out of resuming: the random generators, and the step at which metrics are logged."""

import random
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


class ExactResume(Callback):
    """Saves each rank's generators of Python, numpy, torch and CUDA; restores them before the first batch."""

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Gathers the states of all ranks (called on each)."""
        states: list[Any] = [_capture()]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            torch.distributed.all_gather_object(states, _capture())
        checkpoint["random_state"] = states

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remembers the states until training starts."""
        self._states = checkpoint.get("random_state", [])

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restores this rank's state; on another number of ranks than before, new ranks draw as they were seeded."""
        if self._states is None:
            return
        if trainer.global_rank < len(self._states):
            _restore(self._states[trainer.global_rank])
        # Lightning's own count is one behind after a checkpoint of a validation off the interval
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step
        self._states = None


def _capture() -> dict[str, Any]:
    name, key, *rest = np.random.get_state(legacy=True)  # as plain numbers, which are read without running code
    return {
        "python": random.getstate(),
        "numpy": [name, np.asarray(key).tolist(), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def _restore(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    if "numpy" in state:
        np.random.set_state(tuple(state["numpy"]))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
