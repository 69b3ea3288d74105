"""Template, a data module: write here what it gives to learn from, and where that comes from."""

from pathlib import Path

import torch

from lmkit.data.corpus import Source
from lmkit.data.packing import Batch
from lmkit.data.text import Text
from lmkit.errors import UserError
from lmkit.tasks.corruption import draws


class Template(Text):
    """Text in which, in training, some of the tokens that are read are replaced by others, unigram noising (Xie et al.
    2017, arXiv:1703.02573, section 3.2); here by one that was read before in the same row.

    Args:
        source: A file, folder or glob of texts, "stdlib", or any source.
        context: Tokens a row.
        batch_size: Sequences an optimizer step.
        seed: Chooses the order of the training rows.
        share: Of the tokens, those that are replaced, in [0, 1).
    """

    def __init__(
        self,
        source: Source | str | Path = "stdlib",
        context: int = 256,
        batch_size: int = 32,
        seed: int = 0,
        share: float = 0.1,
    ) -> None:
        super().__init__(source, context=context, batch_size=batch_size, seed=seed)
        if not 0 <= share < 1:
            raise UserError(f"share is {share}: give a share of 0 or more, below 1")
        self.share = share

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Draws by row and step alone, so that a run that is resumed, on any number of ranks, draws the same."""
        if self.trainer is None or not self.trainer.training:
            return batch
        read, step = batch.inputs, 2 * self.trainer.global_step
        place = torch.arange(1, read.size(1) + 1, device=read.device)
        others = read.gather(1, (draws(read, step) * place).long())  # each from its own place or before
        return batch._replace(inputs=torch.where(draws(read, step + 1) < self.share, others, read))
