"""Options of the optimizer that were changed in the recipe since the checkpoint that a run goes on from."""

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class OptimizerOptions(Callback):
    """Has a resumed run take its recipe's options where they were changed; Lightning restores the old ones.

    Options that were not changed stay as they were restored, since some optimizers keep their state among them.
    """

    def __init__(self) -> None:
        self._given: list[dict[str, Any]] = []
        self._kept: list[dict[str, Any]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers the options as the recipe gives them, before a checkpoint's replace them."""
        self._given = [
            {**{key: value for key, value in group.items() if key != "params"}, "lr": group["initial_lr"]}
            for group in trainer.optimizers[0].param_groups
        ]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps them."""
        checkpoint["optimizer_options"] = self._given

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes those that the run had."""
        self._kept = checkpoint.get("optimizer_options", [])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Puts the changed ones in place."""
        (optimizer,) = trainer.optimizers
        schedule: Any = trainer.lr_scheduler_configs[0].scheduler  # the LambdaLR of `Task`
        told: dict[str, str] = {}
        for i, (kept, given) in enumerate(zip(self._kept, self._given, strict=False)):
            group = optimizer.param_groups[i]
            changed = [key for key in kept if key in given and _plain(kept[key]) != _plain(given[key])]
            for key in changed:
                group[key] = given[key]
                told.setdefault(key, f"{key} was {kept[key]} and is {given[key]}")  # of the first, which has no factor
            if "lr" in changed:
                schedule.base_lrs[i] = group["initial_lr"] = given["lr"]
                group["lr"] = given["lr"] * schedule.lr_lambdas[i](schedule.last_epoch)
        told.pop("initial_lr", None)
        if told:
            rank_zero_info(f"the optimizer's options were changed since the checkpoint: {', '.join(told.values())}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
