"""`lmkit fit`, `validate`, `test`, `predict`: LightningCLI, with runs in folders, default callbacks and a report."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning import Callback, LightningDataModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

import lmkit.data.text  # noqa: F401 (known by its class name once it is imported)
from lmkit.callbacks import (
    BestAndLast,
    ExactResume,
    FinalValidation,
    KeepRecipe,
    MetricsFile,
    OptimizerOptions,
    Predictions,
    ProgressBar,
    Samples,
    Throughput,
)
from lmkit.callbacks.report import report, xz_bits_per_byte
from lmkit.checkpoints import KEY, AtomicCheckpoints, read
from lmkit.cli.parser import Parser
from lmkit.cli.precision import choose_precision
from lmkit.cli.quiet import quieten
from lmkit.cli.recipes import read_recipes
from lmkit.cli.runs import ROOT, check_counts, check_same_model, check_unfinished, folder_of, new_folder, resolve
from lmkit.errors import UserError
from lmkit.registry import load_plugins
from lmkit.tasks import Task

DEFAULTS = {
    "max_epochs": -1,  # a run's length is counted in optimizer steps, by max_steps
    "check_val_every_n_epoch": None,  # and so is its interval of validation, since the data is an endless stream
    "use_distributed_sampler": False,  # the data shares itself out
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,  # one line says the same
}


def run(arguments: Sequence[str]) -> None:
    """Runs one of the four commands.

    Raises:
        UserError: for every mistake in the command line, the recipe or the data.
    """
    recipes = read_recipes(arguments)
    load_plugins(recipes.plugins)
    quieten()
    command, *rest = recipes.arguments
    plugins = [f"--plugins={recipes.plugins}"] if recipes.plugins else []
    try:
        CLI(recipes.name, [command, *rest, *plugins])
    except MisconfigurationException as error:
        raise UserError(str(error)) from error
    except ValueError as error:
        if isinstance(error.__cause__, UserError):  # of a constructor; the parser adds all that it was given
            raise error.__cause__ from error
        raise


class CLI(LightningCLI):
    """LightningCLI for `Task` and any data, chosen by class name.

    Args:
        name: of the run, unless `--name` says another.
        arguments: the command and its options.
    """

    def __init__(self, name: str, arguments: list[str]) -> None:
        self._name, self._command = name, arguments[0]
        self._new: Path | None = None  # the folder, if this process has made it
        try:
            self._run(arguments)
        except BaseException:
            trainer = getattr(self, "trainer", None)
            if self._new and (trainer is None or trainer.global_step == 0):
                shutil.rmtree(self._new, ignore_errors=True)
            raise

    def _run(self, arguments: list[str]) -> None:
        super().__init__(
            Task,
            LightningDataModule,
            save_config_callback=KeepRecipe,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults=DEFAULTS,
            seed_everything_default=0,
            parser_class=Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=arguments,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: Parser) -> None:  # type: ignore[override]
        """Adds what a recipe holds beside model, data and trainer."""
        parser.add_argument("--name", type=str | None, default=self._name, help="the run's folder under runs/")
        parser.add_argument("--plugins", type=list[str], default=[], help="files, folders or modules with own classes")

    def parse_arguments(self, parser: Parser, args: list[str]) -> None:  # type: ignore[override]
        """Parses the command line."""
        self.config = parser.parse(args)

    def _parse_ckpt_path(self) -> None:
        """Nothing to read from the checkpoint here: a network's numbers come from the recipe alone."""

    def _set_seed(self) -> None:
        """Seeds all generators.

        Raises:
            UserError: the seed is out of range.
        """
        try:
            super()._set_seed()
        except ValueError as error:
            raise UserError(f"seed_everything: {error}: give a number from 0 on") from error

    def before_instantiate_classes(self) -> None:
        """Settles the run's folder and its checkpoint."""
        config = self.config[self._command]
        check_counts(config.trainer)
        self.root = Path(config.trainer.default_root_dir or ROOT)
        given, config.ckpt_path = config.ckpt_path, None  # what is kept of the recipe makes the run anew
        preferred = ("last", "best") if self._command == "fit" else ("best", "last")
        self.checkpoint = resolve(given, self.root, config.name, preferred) if given else None
        last = self.checkpoint if self._command == "fit" and given == "last" else None
        kept = read(self.checkpoint) if self.checkpoint else {}
        if KEY in kept:
            recipe = yaml.safe_load(self._parser(self._command).dump(config, skip_unset=False))
            check_same_model(kept[KEY]["recipe"]["model"], recipe["model"], fitting=self._command == "fit")
        if self._command == "fit":
            self.folder = folder_of(last) if last else self._new_folder(config)
            self.resumed_step = int(kept["global_step"]) if last else 0
            if kept:
                check_unfinished(self.checkpoint, int(kept["global_step"]), config.trainer.max_steps)
        elif self.checkpoint is None:
            raise UserError(
                f"{self._command} needs a trained network: give --ckpt_path best, or a run's folder or file"
            )
        else:
            self.folder = folder_of(self.checkpoint)
        config.trainer.precision = (
            config.trainer.precision or _precision_of(kept) or choose_precision(str(config.trainer.accelerator))
        )

    def _new_folder(self, config: Any) -> Path:
        """A new run's; ranks beside the first write nothing, nor does a trial run."""
        if config.trainer.fast_dev_run or rank_zero_only.rank:  # type: ignore[attr-defined]
            return self.root / config.name / "version_0"
        self._new = new_folder(self.root, config.name)
        return self._new

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with this run's folder, loggers and callbacks where the recipe names none."""
        given = self.config_init[self._command].trainer
        kwargs["default_root_dir"] = str(self.folder)
        kwargs["plugins"] = [*_listed(given.plugins), AtomicCheckpoints()]
        if isinstance(
            given.val_check_interval, int
        ):  # in optimizer steps, as all of a recipe; Lightning counts batches
            kwargs["val_check_interval"] = given.val_check_interval * given.accumulate_grad_batches
        if given.logger in (None, True):
            kwargs["logger"] = self._loggers() if self._command == "fit" else False
        callbacks = _listed(given.callbacks)
        kinds = {type(callback) for callback in callbacks}
        self.callbacks = kwargs["callbacks"] = callbacks + [
            c for c in self._default_callbacks() if type(c) not in kinds
        ]
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError) as error:
            raise UserError(f"the trainer cannot be made: {error}: correct its options, --trainer....") from error

    def fit(self, **kwargs: Any) -> None:
        """Trains; a run that ended before its first step leaves no folder."""
        start = time.perf_counter()
        self.model.rehearse(self.config["fit"].trainer.max_steps)
        try:
            self.trainer.fit(**kwargs)
        except SystemExit as leaving:  # by which Lightning answers Ctrl-C
            if isinstance(leaving.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt(self._how_to_go_on()) from leaving
            raise
        if self.trainer.is_global_zero and not self.config["fit"].trainer.fast_dev_run:
            self._report((time.perf_counter() - start) / 60)

    def _how_to_go_on(self) -> str:
        kept = self.folder / "checkpoints/last.ckpt"
        return "; --ckpt_path last goes on from its last validation" if kept.is_file() else ", before any checkpoint"

    def _report(self, minutes: float) -> None:
        """Prints what was reached."""
        samples = next(c for c in self.callbacks if isinstance(c, Samples))
        heading = f"{self.config['fit'].name}: {self.trainer.global_step} optimizer steps in {minutes:.1f} minutes"
        xz = xz_bits_per_byte(self.datamodule.validation_text())
        measures = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        prompt = "def read(" if getattr(self.datamodule, "source", None) == "stdlib" else "The"
        following = [f'lmkit generate {self.folder} --prompt "{prompt}"']
        if any(isinstance(logger, TensorBoardLogger) for logger in self.trainer.loggers):
            following.append(f"tensorboard --logdir {self.root}")
        print(report(measures, xz, samples.text, heading, following))

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """The checkpoint is given as the file that was found."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        return {**kwargs, "ckpt_path": str(self.checkpoint) if self.checkpoint else None}

    def _loggers(self) -> list[Logger]:
        """TensorBoard and CSV, in the run's folder."""
        purge: dict[str, Any] = {"purge_step": self.resumed_step} if self.resumed_step else {}
        board = TensorBoardLogger(
            self.folder.parent.parent, self.folder.parent.name, self.folder.name, default_hp_metric=False, **purge
        )
        return [board, MetricsFile(self.folder, self.resumed_step)]

    def _default_callbacks(self) -> list[Callback]:
        """What every run has, unless its recipe names a callback of the same class."""
        if self._command == "predict":
            return [Predictions(self.folder / "predictions.jsonl")]
        if self._command != "fit":
            return []
        trainer = self.config_init["fit"].trainer
        callbacks: list[Callback] = [Throughput(), FinalValidation(), Samples(), ExactResume(), OptimizerOptions()]
        if trainer.enable_progress_bar is not False:
            callbacks.append(ProgressBar())
        if trainer.enable_checkpointing is not False:
            callbacks.append(BestAndLast(self.folder))
        return callbacks


def _precision_of(checkpoint: dict[str, Any]) -> str | None:
    """The precision that a run was trained in, which its continuation keeps."""
    recipe = checkpoint.get(KEY, {}).get("recipe", {})
    return recipe.get("trainer", {}).get("precision")


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]
