"""The progress bar."""

from typing import Any

from lightning.pytorch.callbacks import TQDMProgressBar


class ProgressBar(TQDMProgressBar):
    """Lightning's bar without the version number, which is the run's folder."""

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The metrics beside the bar."""
        metrics = super().get_metrics(*args, **kwargs)
        metrics.pop("v_num", None)
        return dict(metrics)
