"""The task under check: with batches of its own kind, and a network to begin with where it needs one."""

import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lmkit.data.examples.trees import Trees
from lmkit.data.packing import Batch
from lmkit.tasks.fitting import batches_of
from lmkit.testing.given import Size
from lmkit.testing.reading import stir
from lmkit.testing.results import NotApplicable
from lmkit.testing.subject import Subject
from lmkit.testing.toy_data import TOYS, toy_data, toy_rows, write_start
from lmkit.testing.toys import aside, own_cache, trainer


class Tasking(Subject):
    """A class of the kind `Task`; see `Subject`."""

    @cached_property
    def gives(self) -> type:
        """What its batches are, one of `TOYS`.

        Raises:
            NotApplicable: the kit has none of those.
        """
        asked = batches_of(self.cls)
        if asked is Any:
            return Batch
        if asked not in TOYS:
            raise NotApplicable(f"its batches are {getattr(asked, '__name__', asked)}, of which the kit has none")
        return asked

    def rows(self) -> Any:
        """Rows of its kind, by number."""
        return toy_rows(self.gives)

    def built(self) -> Any:
        """A task with its network, whose parameters are stirred, not in training, and a trainer with data."""
        task = self.make()
        with aside() as folder, own_cache(folder):
            task.trainer = trainer(folder, 1)
            task.trainer.datamodule = toy_data(self.gives)
            task.configure_model()
            stir(task).eval()
            task.begin()
        return task

    def _options(self, size: Size) -> dict[str, Any]:
        options = super()._options(size)
        if self.has("teacher") and "teacher" not in self.named:
            options["teacher"] = self._start(size)
        if batches_of(self.cls) is Trees and self.has("init_from") and "init_from" not in self.named:
            options["init_from"] = self._start(size)  # with which a preference loss compares
        return options

    def _start(self, size: Size) -> str:
        """The path of a checkpoint, which goes again with this object."""
        path = Path(self._folder.name) / f"start-{size.dim}.ckpt"
        if not path.exists():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                write_start(path, size)
        return str(path)

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory()
