"""What a fit would do, found out without data, devices or a folder: its parts, its cost, its mistakes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from lmkit.ablation.budget import Cost
from lmkit.cli.defaults import check_counts
from lmkit.cli.precision import choose_precision
from lmkit.cli.trainer import CLI
from lmkit.errors import UserError
from lmkit.optim.groups import decay_by_rank
from lmkit.tasks.checks import check_data, check_trainer


class Rehearsal(CLI):
    """Parses `lmkit fit`, makes task, data and trainer, builds the network on the meta device, and starts nothing.

    Args:
        name: the recipe's.
        options: of `lmkit fit`, without `--plugins`.
        precision: what to take where no precision is named; none finds one.

    Raises:
        UserError: for every mistake that can be found without data.
    """

    def __init__(self, name: str, options: Sequence[str], precision: str | None = None) -> None:
        self._precision = precision
        super().__init__(name, ["fit", *options])
        self.steps: int = self.config["fit"].trainer.max_steps
        self.rehearse(self.steps)
        with torch.device("meta"):
            self.model.configure_model()
        self._check_optimizer()
        check_trainer(self.trainer)
        self.recipe = self._plain()

    @property
    def options(self) -> Any:
        """All options as they are after parsing."""
        return self.config["fit"]

    def _set_seed(self) -> None:
        """Nothing is drawn here."""

    def before_instantiate_classes(self) -> None:
        """Settles the precision; no folder is made."""
        trainer = self.options.trainer
        check_counts(trainer)
        self.folder, self.resumed_step, self.checkpoint = Path("rehearsal"), 0, None
        trainer.precision = trainer.precision or self._precision or choose_precision(str(trainer.accelerator))

    def _run_subcommand(self, subcommand: str) -> None:
        """Starts nothing."""

    def rehearse(self, steps: int) -> None:
        """Builds schedule and network for a run of `steps` optimizer steps."""
        self.model.rehearse(steps, self.datamodule)

    def _check_optimizer(self) -> None:
        """Makes the optimizer for a network of one layer, since the real one has no numbers here.

        Raises:
            UserError: its options are refused.
        """
        try:
            self.model._optimizer(decay_by_rank(torch.nn.Linear(2, 2)))
        except ValueError as error:  # by which torch's refuse numbers out of range
            raise UserError(f"the optimizer cannot be made: {error}: correct --model.optimizer") from error
        except Exception:  # of one that needs the real network; if it is a defect, the run will tell
            return

    def _plain(self) -> dict[str, Any]:
        """The full recipe as plain data, without what says where and under what name a run is kept."""
        recipe = yaml.safe_load(self._parser("fit").dump(self.options, skip_unset=False))
        for key in ("name", "plugins", "ckpt_path"):
            recipe.pop(key, None)
        recipe["trainer"].pop("default_root_dir", None)
        return dict(recipe)

    def cost(self) -> Cost:
        """What a step of it costs, as far as that is known without running it."""
        batch, context = (getattr(self.datamodule, name, None) for name in ("batch_size", "context"))
        try:
            flops = self.model.flops_per_token(context) if context else None
        except Exception:  # of a part, perhaps a plugin's, that cannot be run without its numbers
            flops = None
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return Cost(parameters, flops, batch * context if batch and context else None)

    def prepare(self, opened: bool = False) -> str | None:
        """Prepares the data, compares it with the network, and gives its fingerprint, if it has one.

        Args:
            opened: whether the data was prepared before.

        Raises:
            UserError: they do not fit, or the data cannot be prepared.
        """
        if not opened:
            self.datamodule.prepare_data()
            self.datamodule.setup("fit")
        check_data(self.model.network, self.datamodule, self.model.ids_needed(self.datamodule))
        fingerprint = self.datamodule.state_dict().get("fingerprint")
        return None if fingerprint is None else str(fingerprint)

    def devices(self) -> list[str | None]:
        """A CUDA device for each run at a time; none for one run that has what the machine has."""
        trainer = self.options.trainer
        alone = str(trainer.devices) in ("auto", "1") and trainer.num_nodes == 1
        if str(trainer.accelerator) not in ("auto", "gpu", "cuda") or not alone or not torch.cuda.is_available():
            return [None]
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        known = len(visible) == torch.cuda.device_count()
        return [*visible] if known and all(visible) else [str(number) for number in range(torch.cuda.device_count())]

    def check_measurable(self, name: str) -> None:
        """Looks for options under which a run leaves nothing to compare, or not where it is looked for.

        Args:
            name: the recipe's.

        Raises:
            UserError: there is one.
        """
        options, trainer = self.options, self.options.trainer
        for number in ("batch_size", "context"):
            if (given := getattr(self.datamodule, number, None)) is not None and given < 1:
                raise UserError(f"data.{number} is {given}: give 1 or more")
        if isinstance(options.seed_everything, bool):
            raise UserError(f"seed_everything is {str(options.seed_everything).lower()}: give the first seed's number")
        if trainer.logger not in (None, True):
            raise UserError("an ablation reads each run's metrics.csv: leave trainer.logger out")
        if trainer.fast_dev_run or trainer.limit_val_batches == 0:
            raise UserError(
                "an ablation compares validation losses: leave trainer.fast_dev_run out and let "
                "trainer.limit_val_batches be more than 0"
            )
        if options.ckpt_path is not None:
            raise UserError("an ablation starts its runs anew and goes on by itself: leave ckpt_path out")
        if trainer.default_root_dir is not None or options.name != name:
            raise UserError("an ablation keeps its runs in its own folder: choose it by --out, not by name")
