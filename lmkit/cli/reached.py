"""What is printed at the end of a run: what it reached, and what to type next."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from lmkit.callbacks import Samples
from lmkit.callbacks.report import report, xz_bits_per_byte
from lmkit.data.corpus import StandardLibrary
from lmkit.network import Decoder


def reached(heading: str, trainer: Any, folder: Path, root: Path) -> str:
    """The report of a run that has ended.

    Args:
        heading: what was run.
        trainer: that has run it.
        folder: of the run.
        root: of all runs.
    """
    task, data = trainer.lightning_module, trainer.datamodule
    samples = next(callback for callback in trainer.callbacks if isinstance(callback, Samples))
    xz = xz_bits_per_byte(data.validation_text()) if task.measures_bytes else None
    measures = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return report(measures, xz, samples.text, heading, _following(trainer, folder, root))


def _following(trainer: Any, folder: Path, root: Path) -> list[str]:
    """Commands that suit the run."""
    task, data, found = trainer.lightning_module, trainer.datamodule, list[str]()
    if isinstance(task.network, Decoder) and task.writes_text:
        prompt = "def read(" if isinstance(getattr(data, "source", None), StandardLibrary) else "The"
        talks = hasattr(data, "chat")
        found.append(f"lmkit chat {folder}" if talks else f'lmkit generate {folder} --prompt "{prompt}"')
    if task.learns_beside:
        found.append(f"lmkit predict -c {folder}/config.yaml --ckpt_path {folder} --data.validation_source=FILE")
    if any(isinstance(logger, TensorBoardLogger) for logger in trainer.loggers):
        found.append(f"tensorboard --logdir {root}")
    return found
