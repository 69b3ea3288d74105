"""Ends every run with a validation, and so with a checkpoint, wherever the last interval stands."""

from typing import Any

from lightning import Callback, LightningModule, Trainer


class FinalValidation(Callback):
    """Has the trainer validate after the run's last step, also when it does not end on `trainer.val_check_interval`."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Makes this batch one of those that are followed by a validation, if it is the last."""
        if trainer.global_step >= trainer.max_steps > 0 or trainer.should_stop:
            trainer.val_check_batch = 1
