"""Keeps every rank's random generators in the checkpoint, which Lightning does not, so that a resumed run is the same."""

import random
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class RandomState(Callback):
    """Saves the states of Python's, torch's and CUDA's generators, one a rank; restores them before the first batch."""

    def __init__(self) -> None:
        self._states: list[dict[str, Any]] = []

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Gathers the states of all ranks (called on each)."""
        states: list[Any] = [None] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(states, _capture())
        else:
            states = [_capture()]
        checkpoint["random_state"] = states

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remembers the states until training starts."""
        self._states = checkpoint.get("random_state", [])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores this rank's state; with another number of ranks than before, new ones draw as they were seeded."""
        if trainer.global_rank < len(self._states):
            _restore(self._states[trainer.global_rank])
        self._states = []


def _capture() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def _restore(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
