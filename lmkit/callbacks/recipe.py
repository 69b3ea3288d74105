"""Leaves the full recipe in the run's folder and in each checkpoint, which can then be rebuilt by itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from lightning import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

from lmkit.checkpoints import CHAT, KEY, WRITES_TEXT
from lmkit.hf.importing import IMPORTED


class KeepRecipe(SaveConfigCallback):
    """Writes `config.yaml` when a run starts; adds recipe and tokenizer to its checkpoints."""

    _carried: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the file when a fit starts; what only reads a run leaves its folder as it is."""
        if stage == "fit":
            super().setup(trainer, pl_module, stage)
            task: Any = pl_module
            start = task.start(task.init_from) if task.init_from else None
            self._carried = _kept({CHAT: start.chat, IMPORTED: start.imported}) if start else None

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the file into the run's folder, wherever its loggers write."""
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        self.parser.save(self.config, folder / "config.yaml", skip_unset=False, overwrite=True, multifile=False)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds what rebuilds the network and its tokenizer."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        checkpoint[KEY] = {
            "recipe": yaml.safe_load(self.parser.dump(self.config, skip_unset=False)),
            "tokenizer": data.tokenizer.to_str(),
            "end_of_document": data.end_of_document,
            WRITES_TEXT: getattr(pl_module, "writes_text", True),
            **(self._carried or {}),
            **({CHAT: data.chat.plain()} if hasattr(data, "chat") else {}),
        }

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps what a run that goes on has from where it once started."""
        self._carried = _kept(checkpoint.get(KEY, {}))


def _kept(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a start or a checkpoint tells, what stays with those that go on from it, if they have nothing newer."""
    return {name: told[name] for name in (CHAT, IMPORTED) if told.get(name)}
