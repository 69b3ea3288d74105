"""Masked language modelling: predict tokens that are hidden, from those on both sides."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.packing import Batch
from lmkit.errors import UserError
from lmkit.network import Encoder
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.corruption import draw_number, mask
from lmkit.tasks.task import Task
from lmkit.tasks.token_losses import of_targets, row_losses, token_loss
from lmkit.transforms import Transform


class MaskedLanguageModel(Task):
    """Prediction of hidden tokens on rows of text (BERT, Devlin et al. 2018, arXiv:1810.04805, section 3.1).

    The network's last token id is the mask, so that its vocabulary is at least one larger than the tokenizer's.

    Args:
        network: recipe of the encoder.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        chunk: tokens whose logits exist at once; less takes less memory.
        share: of the tokens that are predicted; BERT's is 0.15.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
    """

    measures_bytes: ClassVar[bool] = False
    network: Encoder

    def __init__(
        self,
        network: Callable[[], Encoder],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        chunk: int = 2048,
        share: float = 0.15,
        init_from: str | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)
        if not 0 < share < 1:
            raise UserError(f"share is {share}: give the share of tokens to hide, above 0 and below 1, such as 0.15")
        self.chunk, self.share = chunk, share

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the hidden tokens, and their number."""
        return token_loss(self.network, *of_targets(*self._read(batch)), self.chunk)

    def states(self, network: Any, tokens: Tensor) -> list[Tensor]:
        """Those of the hidden tokens."""
        return [network(tokens)[:, : round(self.share * tokens.size(1))]]

    def predict_step(self, batch: Batch) -> Tensor:
        """For each row its summed loss in nats and its number of hidden tokens (B, 2)."""
        return row_losses(self.network, *self._read(batch), self.chunk)

    def ids_needed(self, data: Any) -> int:
        """The tokenizer's, and the mask."""
        return super().ids_needed(data) + 1

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) of the damaged text, and what is to be predicted (B, T)."""
        last = self.network.vocab_size - 1
        known = getattr(self._datamodule, "vocab_size_used", last)  # an id of no text would tell that it was drawn
        tokens, targets = mask(batch.inputs, batch.targets, last, known, self.share, draw_number(self))
        return self.network(tokens, batch.documents), targets
