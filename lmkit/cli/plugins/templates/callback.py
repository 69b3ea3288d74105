"""Template, a callback: write here what it watches or changes, and why."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer


class Template(Callback):
    """Logs the root mean square of all weights.

    Args:
        name: of the figure in the logs.
    """

    def __init__(self, name: str = "train/weights") -> None:
        self.name = name

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measures where the trainer logs."""
        if trainer.global_step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            weights = [*pl_module.parameters()]
            total = torch.nn.utils.get_total_norm(weights)
            pl_module.log(self.name, total / sum(weight.numel() for weight in weights) ** 0.5)
