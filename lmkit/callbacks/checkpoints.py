"""Which checkpoints a run keeps."""

from pathlib import Path

from lightning.pytorch.callbacks import ModelCheckpoint


class BestAndLast(ModelCheckpoint):
    """Keeps the best checkpoint by validation loss, and the last one, beside any `ModelCheckpoint` of the recipe.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(
            dirpath=folder / "checkpoints",
            filename="best",
            monitor="val/loss",
            save_last=True,
            enable_version_counter=False,
        )
