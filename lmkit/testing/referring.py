"""The reference under check: beside a preference optimization that starts from a small network."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmkit.data.examples.trees import Trees
from lmkit.errors import UserError
from lmkit.network import Decoder
from lmkit.tasks import PreferenceOptimization
from lmkit.tasks.references import Reference
from lmkit.testing.parts import small
from lmkit.testing.results import Failed, NotApplicable
from lmkit.testing.subject import Subject
from lmkit.testing.toy_data import toy_data, write_start
from lmkit.testing.toys import aside, own_cache, trainer
from lmkit.transforms import LoRA, Transform


class Referring(Subject):
    """A class of the kind `Reference`; see `Subject`."""

    @contextmanager
    def beside(self) -> Iterator[None]:
        """It needs nothing beside it."""
        yield

    def begun(self, part: Reference | None = None) -> Any:
        """A task whose reference has begun, not in training, with data; it has adapters if the reference needs them."""
        part = part or self.make()
        try:
            return self._begun(part, None)
        except UserError as error:
            if find_spec("peft") is None:
                raise NotApplicable(
                    f"it does not begin without adapters, and peft is not installed ({error})"
                ) from error
            return self._begun(part, [LoRA(rank=2)])

    def _begun(self, part: Reference, transforms: list[Transform] | None) -> Any:
        with tempfile.TemporaryDirectory() as name, aside(stay=True) as folder, own_cache(folder):
            start = str(write_start(Path(name) / "start.ckpt", self.size))
            network = partial(small(Decoder, self.size))
            task: Any = PreferenceOptimization(network, transforms=transforms, init_from=start, reference=part)
            task.trainer = trainer(folder, 1)
            task.trainer.datamodule = toy_data(Trees)
            task.configure_model()
            task.eval()
            before = _state(task)
            part.begin(task)
        if _state(task) != before:
            raise Failed("begin() changes the task", do="keep networks out of the task, and leave its own as it is")
        return task

    def sums(self, task: Any, numbers: list[int], training: bool = False) -> Tensor:
        """The log-probabilities (C) of examples of the data to train on, or to validate on."""
        data = task.trainer.datamodule
        task.train(training)
        found: Tensor = task._reference.sums(
            task, data.rows(data.train if training else data.validation).batch(numbers)
        )
        task.eval()
        return found

    def learn(self, task: Any) -> None:
        """Has what learns of the network become something else."""
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in task.network.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn(parameter.shape, generator=draw))


def _state(task: Any) -> list[Any]:
    """What a checkpoint has of a task, and what learns."""
    learns = [(name, parameter.requires_grad) for name, parameter in task.named_parameters()]
    return [learns, {name: tensor.tolist() for name, tensor in task.state_dict().items()}]
