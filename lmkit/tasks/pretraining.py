"""Pretraining: predict each next token (Radford et al. 2018)."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.packing import IGNORE, Batch
from lmkit.network import Decoder, FurtherHeads
from lmkit.network.further_heads import shifted
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.checks import check_chunk
from lmkit.tasks.task import Task
from lmkit.tasks.token_losses import row_losses, token_loss
from lmkit.transforms import Transform


class Pretraining(Task):
    """Next-token prediction on rows of text.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order, but not to further heads; none for
            nothing.
        chunk: tokens whose logits exist at once; less takes less memory.
        multi_token: recipe of heads that predict the tokens after the next one, in training only; none for none.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
    """

    network: Decoder

    def __init__(
        self,
        network: Callable[[], Decoder],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        chunk: int = 2048,
        multi_token: Callable[[Decoder], FurtherHeads] | None = None,
        init_from: str | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)
        check_chunk(chunk)
        self.chunk = chunk
        self.multi_token: FurtherHeads | None = None
        self._multi_token = multi_token

    def build(self) -> None:
        """Builds the network, and the further heads."""
        super().build()
        self.multi_token = self._multi_token(self.network) if self._multi_token else None

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the batch's valid tokens, and their number."""
        return token_loss(self.network, self.network(batch.inputs, batch.documents), batch.targets, self.chunk)

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | float]:
        """The same, and the loss of the further heads with that of layers that have their own.

        What the further heads predict is summed as the next tokens are, and so divided by their number: DeepSeek-V3's
        equation 24, which divides by T too.
        """
        if self.multi_token is None:
            return super().training_loss(batch)
        hidden = self.network(batch.inputs, batch.documents)
        loss, count = token_loss(self.network, hidden, batch.targets, self.chunk)
        beside: Tensor | float = 0.0
        steps = self.multi_token(self.network, hidden, batch.inputs, batch.documents)
        for k, later in enumerate(steps, 1):
            targets = shifted(batch.targets, batch.documents, k, IGNORE)
            further, _ = token_loss(self.network, later, targets, self.chunk)
            beside = beside + self.multi_token.weight / self.multi_token.count * further
        return loss, count, beside + self.side_loss() * count

    def states(self, network: Any, tokens: Tensor) -> list[Tensor]:
        """Those of the network, and of the further heads."""
        hidden = network(tokens)
        further = self._multi_token(network)(network, hidden, tokens, None) if self._multi_token else ()
        return [hidden, *further]

    def predict_step(self, batch: Batch) -> Tensor:
        """For each row its summed loss in nats and its number of valid tokens (B, 2)."""
        return row_losses(self.network, self.network(batch.inputs, batch.documents), batch.targets, self.chunk)
