"""What a run has beside what its recipe names: the trainer's settings, loggers and callbacks."""

from pathlib import Path
from typing import Any

from lightning import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger

from lmkit.callbacks import (
    BestAndLast,
    Board,
    ExactResume,
    FinalValidation,
    MetricsFile,
    OptimizerOptions,
    Predictions,
    ProgressBar,
    Samples,
    Throughput,
)
from lmkit.checkpoints import AtomicCheckpoints
from lmkit.errors import UserError

SETTINGS = {
    "max_epochs": -1,  # a run's length is counted in optimizer steps, by max_steps
    "check_val_every_n_epoch": None,  # and so is its interval of validation, since the data is an endless stream
    "use_distributed_sampler": False,  # the data shares itself out
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,  # one line says the same
}


def check_counts(trainer: Any) -> None:
    """Looks for numbers of a trainer's options that it would take without a word, or divide by.

    Raises:
        UserError: there is one.
    """
    for name in ("accumulate_grad_batches", "val_check_interval", "log_every_n_steps"):
        number = trainer[name]
        if number is not None and number <= 0:
            raise UserError(f"trainer.{name} is {number}: give 1 or more")
    if trainer.gradient_clip_val is not None and trainer.gradient_clip_val < 0:
        raise UserError(f"trainer.gradient_clip_val is {trainer.gradient_clip_val}: give a norm, or 0 to leave it out")


def trainer_options(command: str, given: Any, folder: Path, resumed_step: int) -> dict[str, Any]:
    """What a trainer is made with, over the recipe's own options.

    Args:
        command: fit, validate, test or predict.
        given: the recipe's options, its parts made.
        folder: the run's.
        resumed_step: optimizer step that the run goes on from.
    """
    own = _listed(given.callbacks)
    kinds = {type(callback) for callback in own}
    options: dict[str, Any] = {
        "default_root_dir": str(folder),
        "plugins": [*_listed(given.plugins), AtomicCheckpoints()],
        "callbacks": own + [c for c in _callbacks(command, given, folder) if type(c) not in kinds],
    }
    if isinstance(given.val_check_interval, int):  # in optimizer steps; Lightning counts micro-batches
        options["val_check_interval"] = given.val_check_interval * given.accumulate_grad_batches
    if given.fast_dev_run:  # a trial keeps nothing
        options["enable_checkpointing"] = any(isinstance(callback, ModelCheckpoint) for callback in own)
    if given.logger in (None, True):
        options["logger"] = _loggers(folder, resumed_step) if command == "fit" else False
    return options


def _loggers(folder: Path, resumed_step: int) -> list[Logger]:
    """TensorBoard and CSV, in the run's folder."""
    return [Board(folder, resumed_step), MetricsFile(folder, resumed_step)]


def _callbacks(command: str, given: Any, folder: Path) -> list[Callback]:
    """What a run has unless its recipe names a callback of the same class."""
    if command == "predict":
        return [Predictions(folder / "predictions.jsonl")]
    if command != "fit":
        return []
    callbacks: list[Callback] = [Throughput(), FinalValidation(), Samples(), ExactResume(), OptimizerOptions()]
    if given.enable_progress_bar is not False:
        callbacks.append(ProgressBar())
    if given.enable_checkpointing is not False and not given.fast_dev_run:
        callbacks.append(BestAndLast(folder))
    return callbacks


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]
