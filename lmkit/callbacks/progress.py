"""The progress bar."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Lightning's bar, in optimizer steps of the whole run instead of micro-batches of an epoch.

    Args:
        refresh_rate: optimizer steps between two of its updates.
    """

    @property
    def total_train_batches(self) -> int | float:
        """The run's length in optimizer steps."""
        return self.trainer.max_steps if self.trainer.max_steps > 0 else float("inf")

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        """Begins where the run is."""
        super().on_train_epoch_start(trainer, *args)
        bar = self.train_progress_bar
        bar.initial = bar.n = bar.last_print_n = trainer.global_step
        bar.set_description("Training")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves on after each optimizer step."""
        bar, step = self.train_progress_bar, trainer.global_step
        if not bar.disable and step > bar.n and (step % self.refresh_rate == 0 or step == bar.total):
            bar.set_postfix(self.get_metrics(trainer, pl_module), refresh=False)
            bar.n = step
            bar.refresh()

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The metrics beside the bar, without the version number, which is the run's folder."""
        metrics = super().get_metrics(*args, **kwargs)
        metrics.pop("v_num", None)
        return dict(metrics)
