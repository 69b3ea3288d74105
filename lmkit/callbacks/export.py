"""Exports the best checkpoint of a run when it ends, as `lmkit export` does."""

import shutil
from pathlib import Path
from typing import Literal

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.errors import UserError
from lmkit.hf.card.text import is_card
from lmkit.hf.exporting import DTYPES, SHARD, export


class HuggingFaceExport(Callback):
    """Writes a Hugging Face folder into the run's, with the receipt that it is the same model.

    Args:
        folder: where to, within the run's folder; of an earlier end of the same run it is replaced.
        dtype: of the weights; none for those that they have.
        shard: the most bytes of a file of weights.
        license: for the model card, such as `apache-2.0`; none if there is none yet.

    Raises:
        UserError: the folder is not within the run's, or is that of its checkpoints.
    """

    def __init__(
        self,
        folder: str = "huggingface",
        dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        shard: int = SHARD,
        license: str | None = None,
    ) -> None:
        super().__init__()
        within = Path(folder)
        if within.is_absolute() or not within.parts or {"..", "checkpoints"} & {*within.parts}:
            raise UserError(f"HuggingFaceExport's folder is {folder!r}: give one within the run's, such as huggingface")
        self.folder, self.dtype, self.shard, self.license = folder, dtype, shard, license

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks whether the folder can be written in the end.

        Raises:
            UserError: something else is there, or the task has a head that no folder would have.
        """
        if not getattr(pl_module, "writes_text", True):
            raise UserError(
                f"HuggingFaceExport has no place for the head of {type(pl_module).__name__}: leave it out of "
                "trainer.callbacks"
            )
        out = Path(trainer.default_root_dir) / self.folder
        if out.is_symlink() or (out.exists() and not is_card(out / "README.md")):
            raise UserError(
                f"{out} is there, but is no export: name another folder for HuggingFaceExport, or remove it"
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Exports what the run has kept.

        Raises:
            RunError: the folder is not the same model.
            UserError: the checkpoint cannot be exported.
        """
        if not trainer.is_global_zero:
            return
        run = Path(trainer.default_root_dir)
        if not any((run / "checkpoints").glob("*.ckpt")):  # as after a trial run
            rank_zero_warn("nothing is exported, since the run keeps no checkpoint")
            return
        out = run / self.folder
        if out.exists():  # of an earlier end of this run; if the new one fails none is kept
            shutil.rmtree(out)
        done = export(run, out, DTYPES[self.dtype] if self.dtype else None, self.shard, self.license)
        kind = done.family or "a model with its own code"
        rank_zero_info(f"exported to {out}, as {kind}:\n{done.receipt.table()}")
