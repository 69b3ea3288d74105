"""Supervised fine-tuning: predict what the assistant says (Ouyang et al. 2022, arXiv:2203.02155, section 3.1)."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.packing import Batch
from lmkit.network import Decoder
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.checks import check_chunk
from lmkit.tasks.task import Task
from lmkit.tasks.token_losses import of_targets, row_losses, token_loss
from lmkit.transforms import Transform


class SFT(Task):
    """Supervised fine-tuning on conversations, of which the data says which tokens are learned (Ouyang et al. 2022,
    arXiv:2203.02155); logits are computed for those alone.

    Args:
        network: recipe of the network.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        chunk: tokens whose logits exist at once; less takes less memory.
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
        init_from: str | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)
        check_chunk(chunk)
        self.chunk = chunk

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the tokens to learn, and their number."""
        hidden = self.network(batch.inputs, batch.documents)
        return token_loss(self.network, *of_targets(hidden, batch.targets), self.chunk)

    def predict_step(self, batch: Batch) -> Tensor:
        """For each row its summed loss in nats and its number of tokens to learn (B, 2)."""
        return row_losses(self.network, self.network(batch.inputs, batch.documents), batch.targets, self.chunk)
