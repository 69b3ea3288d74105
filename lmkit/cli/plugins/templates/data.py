"""Template, a data module: write here what it gives to learn from, and where that comes from."""

from pathlib import Path

import torch

from lmkit.data.corpus import Source
from lmkit.data.packing import Batch
from lmkit.data.text import Text
from lmkit.errors import UserError


class Template(Text):
    """Text of which some tokens are hidden from the network in training, word dropout (Bowman et al. 2015,
    arXiv:1511.06349, section 3.2): what is read there is the end of a document.

    Args:
        source: A file, folder or glob of texts, "stdlib", or any source.
        context: Tokens a row.
        batch_size: Sequences an optimizer step.
        seed: Chooses the order of the training rows, and which tokens are hidden.
        share: Of the tokens, those that are hidden, in [0, 1).
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
        """Hides tokens by a hash of the row up to them: another number of ranks, or a second start, hides the same."""
        if self.trainer is None or not self.trainer.training:
            return batch
        sums = (batch.inputs + self.seed + 1).cumsum(dim=1)
        drawn = sums * 0x9E3779B1 % (1 << 32)  # Knuth's multiplicative hash: as if uniform below 2^32
        return batch._replace(inputs=torch.where(drawn < self.share * (1 << 32), self.end_of_document, batch.inputs))
