"""Denoising: read a text with spans cut out, and write the spans."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from lmkit.data.packing import Batch
from lmkit.errors import UserError
from lmkit.network import EncoderDecoder
from lmkit.optim import Schedule, WarmupCosine
from lmkit.tasks.corruption import counts, cut_spans, draw_number
from lmkit.tasks.task import Task
from lmkit.tasks.token_losses import row_losses, token_loss
from lmkit.transforms import Transform


class Denoising(Task):
    """Prediction of spans that are cut out of rows of text (T5, Raffel et al. 2020, arXiv:1910.10683, section 3.1.4).

    The network's last token ids are the sentinels that stand for the spans, so that its vocabulary is larger than the
    tokenizer's by one more than the spans of a row.

    Args:
        network: recipe of the encoder-decoder.
        optimizer: recipe of the optimizer; it is given two groups, matrices and vectors, the latter without decay.
        schedule: recipe of the learning rate's factor; it is given the run's number of optimizer steps.
        compile: whether each block is compiled by `torch.compile`.
        transforms: what is done to the network once it is built, in this order; none for nothing.
        chunk: tokens whose logits exist at once; less takes less memory.
        share: of the tokens that are cut out; T5's is 0.15.
        length: mean tokens of a span; T5's is 3.
        init_from: where the first weights come from: a Hugging Face folder, a run or a checkpoint; none draws them.
    """

    measures_bytes: ClassVar[bool] = False
    network: EncoderDecoder

    def __init__(  # noqa: PLR0913, PLR0917 (the signature is the configuration)
        self,
        network: Callable[[], EncoderDecoder],
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[int], Schedule] = WarmupCosine,
        compile: bool = False,
        transforms: list[Transform] | None = None,
        chunk: int = 2048,
        share: float = 0.15,
        length: float = 3.0,
        init_from: str | None = None,
    ) -> None:
        super().__init__(network, optimizer, schedule, compile, transforms, init_from)
        if not 0 < share < 1:
            raise UserError(f"share is {share}: give the share of tokens to cut out, above 0 and below 1, such as 0.15")
        if length < 1:
            raise UserError(f"length is {length}: give the mean number of tokens of a span, 1 or more, such as 3")
        self.chunk, self.share, self.length = chunk, share, length

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss in nats summed over the spans' tokens and sentinels, and their number."""
        return token_loss(self.network, *self._read(batch), self.chunk)

    def predict_step(self, batch: Batch) -> Tensor:
        """For each row its summed loss in nats and its number of predicted tokens (B, 2)."""
        return row_losses(self.network, *self._read(batch), self.chunk)

    def states(self, network: Any, tokens: Tensor) -> list[Tensor]:
        """Those of the spans of a row of tokens (1, T)."""
        cut, spans = counts(tokens.size(1), self.share, self.length)
        return [network(tokens[:, : tokens.size(1) - cut + spans], torch.zeros_like(tokens[:, : cut + spans]))]

    def ids_needed(self, data: Any) -> int:
        """The tokenizer's, one for each span of a row, and the one that ends the last."""
        return super().ids_needed(data) + counts(data.context, self.share, self.length)[1] + 1

    def _read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) of the spans, and what is to be predicted (B, T)."""
        last = self.network.vocab_size - 1
        made = cut_spans(*batch, last, self.share, self.length, draw_number(self))
        return self.network(made.read, made.write, made.read_documents, made.write_documents), made.targets
