"""Exports the best checkpoint of a run when it ends, as `lmkit export` does."""

from pathlib import Path
from typing import Literal

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.hf.exporting import DTYPES, SHARD, export


class HuggingFaceExport(Callback):
    """Writes a Hugging Face folder into the run's, with the receipt that it is the same model.

    Args:
        folder: where to, within the run's folder.
        dtype: of the weights; none for those that they have.
        shard: the most bytes of a file of weights.
        license: for the model card, such as `apache-2.0`; none if there is none yet.
    """

    def __init__(
        self,
        folder: str = "huggingface",
        dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        shard: int = SHARD,
        license: str | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.dtype, self.shard, self.license = folder, dtype, shard, license

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
        done = export(run, out, DTYPES[self.dtype] if self.dtype else None, self.shard, self.license, overwrite=True)
        kind = done.family or "a model with its own code"
        rank_zero_info(f"exported to {out}, as {kind}:\n{done.receipt.table()}")
