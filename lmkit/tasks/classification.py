"""Classification: tell the class of a text (as in Raschka, "Build a Large Language Model (From Scratch)", 2024, chapter
6).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW, Optimizer
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from lmkit.data.labelled_texts import NO_CLASS, LabelledTexts
from lmkit.errors import UserError
from lmkit.layers.weights import Linear
from lmkit.network import Transformer
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.heads import freeze_own, scores_of, take_head
from lmkit.tasks.task import Task
from lmkit.transforms import Transform


class Classification(Task):
    """Learns the classes of labelled texts: a linear head reads them off the hidden state of a text's last token
    (Radford et al. 2018, "Improving language understanding by generative pre-training", section 3.2).

    Logs, beside the loss, the share of texts whose class is told rightly (`accuracy`), and in validation the mean of
    the classes' F1 scores (`f1`), in which rare classes count as much as frequent ones. Head and class names are kept
    in checkpoints beside the network.

    Args:
        network: recipe of the network; an encoder will do as well.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order, but not to the head; none for nothing.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
    """

    measures_bytes: ClassVar[bool] = False
    measures_tokens: ClassVar[bool] = False
    writes_text: ClassVar[bool] = False
    learns_beside: ClassVar[bool] = True
    network: Transformer

    def __init__(
        self,
        network: Callable[[], Transformer],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        init_from: str | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)
        self.classes: list[str] = []

    def build(self) -> None:
        """Builds the network, and a head for the classes of the data; that of a run of the same classes is taken over.

        Raises:
            UserError: there is no data that has classes.
        """
        self.classes = list(getattr(self._datamodule, "classes", ()))
        if not self.classes:
            raise UserError(
                "Classification needs to know the classes: set data to Labels, or to other data with classes"
            )
        super().build()
        freeze_own(self.network)
        self.head = Linear(self.network.dim, len(self.classes))
        take_head(self)
        accuracy = MulticlassAccuracy(len(self.classes), average="micro")
        self.metrics = MetricCollection({"accuracy": accuracy, "f1": MulticlassF1Score(len(self.classes))})

    def loss(self, batch: LabelledTexts) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the texts, and their number."""
        scores = self.scores(batch)
        count = torch.tensor(len(scores), device=scores.device)
        if self.training:
            self.note("accuracy", (scores.argmax(1) == batch.labels).sum(), count)
        elif len(scores):
            self.metrics.update(scores.float(), batch.labels)
        return F.cross_entropy(scores, batch.labels, reduction="sum"), count

    def scores(self, batch: LabelledTexts) -> Tensor:
        """Logits of the classes of each text (N, classes)."""
        hidden = self.network(batch.inputs, batch.documents)
        return scores_of(self.head, hidden.flatten(0, 1)[batch.ends])

    def states(self, network: Any, tokens: Tensor) -> list[Tensor]:
        """That of the last token, the only one that is read."""
        return [network(tokens)[:, -1:]]

    def predict_step(self, batch: LabelledTexts) -> Tensor:
        """The probabilities of the classes of each text (N, classes)."""
        return self.scores(batch).softmax(1)

    def predictions(self, outputs: Tensor, batch: LabelledTexts, number: int) -> Iterator[dict[str, Any]]:
        """Of each text its row, its class by its label (none where that is no class), the class that it is taken for,
        the probabilities of all classes, and the text.
        """
        told = zip(outputs.tolist(), batch.labels.tolist(), batch.ends.tolist(), batch.examples.tolist(), strict=True)
        for probabilities, label, end, example in told:
            row, place = divmod(end, batch.inputs.size(1))
            ids = batch.inputs[row, batch.documents[row] == batch.documents[row, place]]
            yield {
                "row": example,
                "label": None if label == NO_CLASS else self.classes[label],
                "predicted": self.classes[max(range(len(probabilities)), key=probabilities.__getitem__)],
                "probabilities": dict(zip(self.classes, probabilities, strict=True)),
                "text": self.tokenizer.decode(ids[1:-1].tolist()),
            }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the names of the classes too."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["classes"] = self.classes

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Compares the names of the classes too.

        Raises:
            UserError: they are others.
        """
        super().on_load_checkpoint(checkpoint)
        if (kept := checkpoint.get("classes")) != self.classes:
            raise UserError(
                f"the checkpoint knows the classes {', '.join(kept or ['of none'])}, but the rows to train on have "
                f"{', '.join(self.classes)}: give --data.source as it was trained with, and other rows to measure on "
                "as --data.validation_source"
            )

    def _log_measures(self, stage: str, prog_bar: bool = False) -> None:
        super()._log_measures(stage, prog_bar)
        for name, value in self.metrics.compute().items():
            self.log(f"{stage}/{name}", value, prog_bar=prog_bar)
        self.metrics.reset()
