"""`lmkit fit`, `validate`, `test`, `predict`: LightningCLI, with runs in folders, default callbacks and a report."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningDataModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities import rank_zero_only

from lmkit.callbacks import KeepRecipe
from lmkit.checkpoints import BASE, LOSS, folder_of, read
from lmkit.cli.defaults import SETTINGS, check_counts, trainer_options
from lmkit.cli.freed_memory import keep_freed_memory
from lmkit.cli.parser import Parser, mistakes_told
from lmkit.cli.precision import choose_precision
from lmkit.cli.quiet import quieten
from lmkit.cli.reached import reached
from lmkit.cli.recipes import read_recipes
from lmkit.cli.resume import check_fits, check_same_loss, precision_of
from lmkit.cli.runs import ROOT, new_folder, remove_folder, resolve
from lmkit.cli.starting import keep_tokenizer, settle, start_of, take_teachers_tokenizer, with_network
from lmkit.errors import UserError
from lmkit.hf.start import base_of
from lmkit.hf.start_kind import Start
from lmkit.kinds import load
from lmkit.tasks import Task
from lmkit.tasks.checks import check_strategy
from lmkit.tasks.described import as_recipe


def run(arguments: Sequence[str]) -> None:
    """Runs one of the four commands.

    Raises:
        UserError: for every mistake in the command line, the recipe or the data.
    """
    recipes = read_recipes(arguments)
    load(recipes.plugins)
    start = start_of(recipes)
    used = list(dict.fromkeys([*recipes.plugins, *(start.plugins if start else [])]))
    if used != recipes.plugins:
        load(used)
    quieten()
    keep_freed_memory()
    command, *rest = with_network(recipes.arguments, start) if start else recipes.arguments
    plugins = [f"--plugins={used}"] if used else []
    with mistakes_told():
        CLI(recipes.name, [command, *rest, *plugins], start)


class CLI(LightningCLI):
    """LightningCLI for `Task` and any data, chosen by class name.

    Args:
        name: of the run, unless `--name` says another.
        arguments: the command and its options.
        start: where the network starts; none to draw its first values.
    """

    def __init__(self, name: str, arguments: list[str], start: Start | None = None) -> None:
        self._name, self._command, self._start = name, arguments[0], start
        self._new: Path | None = None  # the folder, if this process has made it
        try:
            self._run(arguments)
            if self._new and not any(self._new.iterdir()):  # of a command that only measures
                remove_folder(self._new)
        except BaseException:
            trainer = getattr(self, "trainer", None)
            if self._new and (trainer is None or trainer.global_step == 0):
                remove_folder(self._new)
            raise

    def _run(self, arguments: list[str]) -> None:
        super().__init__(
            Task,
            LightningDataModule,
            save_config_callback=KeepRecipe,
            save_config_kwargs={"save_to_log_dir": False},
            trainer_defaults=SETTINGS,
            seed_everything_default=0,
            parser_class=Parser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=arguments,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one that runs: to make the parsers of all takes longer than to make a network."""
        return {self._command: LightningCLI.subcommands()[self._command]}

    def add_arguments_to_parser(self, parser: Parser) -> None:  # type: ignore[override]
        """Adds what a recipe holds beside model, data and trainer."""
        parser.add_argument("--name", type=str | None, default=self._name, help="the run's folder under runs/")
        parser.add_argument("--plugins", type=list[str], default=[], help="files, folders or modules with own classes")
        parser.count_batches()

    def parse_arguments(self, parser: Parser, args: list[str]) -> None:  # type: ignore[override]
        """Parses the command line."""
        self.config = parser.parse(args)
        settle(self.config[self._command], self._start)

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
        """Settles the run's checkpoint, folder and precision, before anything is made."""
        config = self.config[self._command]
        check_counts(config.trainer)
        self.root = Path(config.trainer.default_root_dir or ROOT)
        given, config.ckpt_path = config.ckpt_path, None  # what is kept of the recipe makes the run anew
        preferred = ("last", "best") if self._command == "fit" else ("best", "last")
        self.checkpoint = resolve(given, self.root, config.name, preferred) if given else None
        kept = self._read_checkpoint(config)
        told = config.model.get("init_args", {}).get("init_from")
        self._base = str(base_of(kept, self.checkpoint, told).path) if self.checkpoint and BASE in kept else None
        self._loss = kept.get(LOSS, {}) if self._command == "fit" else {}
        goes_on = self._command != "fit" or given == "last"
        self.resumed_step = int(kept["global_step"]) if kept and goes_on else 0
        self.folder = folder_of(self.checkpoint) if self.checkpoint and goes_on else self._new_folder(config)
        take_teachers_tokenizer(config, kept, self.folder)
        if self._command == "fit" and self._writes(config):
            keep_tokenizer(config.data, self.folder)
        config.trainer.precision = (
            config.trainer.precision or precision_of(kept) or choose_precision(str(config.trainer.accelerator))
        )

    def _read_checkpoint(self, config: Any) -> dict[str, Any]:
        """What the checkpoint holds; nothing without one.

        Raises:
            UserError: it does not fit the command or the recipe.
        """
        fitting = self._command == "fit"
        if self.checkpoint is None:
            if fitting or self._start:
                return {}
            raise UserError(
                f"{self._command} needs a trained network: give --ckpt_path best, or a run's folder or file, or "
                "--model.init_from"
            )
        kept = read(self.checkpoint)
        recipe = yaml.safe_load(self._parser(self._command).dump(config, skip_unset=False))
        check_fits(self.checkpoint, kept, recipe, fitting)
        return kept

    def _writes(self, config: Any) -> bool:
        """Whether this process writes into the run's folder: neither ranks beside the first do, nor a trial run."""
        return not (config.trainer.fast_dev_run or rank_zero_only.rank)  # type: ignore[attr-defined]

    def _new_folder(self, config: Any) -> Path:
        """A new run's."""
        if not self._writes(config):
            return self.root / config.name / "version_0"
        self._new = new_folder(self.root, config.name)
        return self._new

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer, with what this run has beside what its recipe names."""
        given = self.config_init[self._command].trainer
        if self._command == "fit":
            check_strategy(given.strategy if isinstance(given.strategy, str) else type(given.strategy).__name__)
        kwargs |= trainer_options(self._command, given, self.folder, self.resumed_step)
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError) as error:
            said = str(error).rstrip(".")
            raise UserError(f"the trainer cannot be made: {said}: correct the options of trainer") from error

    def instantiate_classes(self) -> None:
        """Makes task, data and trainer; a checkpoint's weights replace those to start with, or stand beside.

        Raises:
            UserError: the loss is another one than the checkpoint's.
        """
        super().instantiate_classes()
        if self._start:
            self.model.opened[self.model.init_from] = self._start
        if self.checkpoint:
            self.model.init_from = self._base
            check_same_loss(self._loss, as_recipe(self.model.made_of()))

    def fit(self, **kwargs: Any) -> None:
        """Trains; a run that ended before its first step leaves no folder."""
        start = time.perf_counter()
        self.model.rehearse(self.config["fit"].trainer.max_steps, self.datamodule)
        try:
            self.trainer.fit(**kwargs)
        except SystemExit as leaving:  # by which Lightning answers Ctrl-C
            if isinstance(leaving.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt(self._how_to_go_on()) from leaving
            raise
        if self.trainer.is_global_zero and not self.config["fit"].trainer.fast_dev_run:
            minutes = (time.perf_counter() - start) / 60
            heading = f"{self.config['fit'].name}: {self.trainer.global_step} optimizer steps in {minutes:.1f} minutes"
            print(reached(heading, self.trainer, self.folder, self.root))

    def _how_to_go_on(self) -> str:
        kept = self.folder / "checkpoints/last.ckpt"
        return "; --ckpt_path last goes on from its last validation" if kept.is_file() else ", before any checkpoint"

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """The checkpoint is given as the file that was found."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        return {**kwargs, "ckpt_path": str(self.checkpoint) if self.checkpoint else None}
