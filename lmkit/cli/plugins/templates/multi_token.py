"""Template, a set of further heads: write here what it is, who proposed it, when, and under which arXiv number."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers import Linear
from lmkit.network import Decoder, FurtherHeads


class Template(FurtherHeads):
    """One residual layer for each later token, as in Medusa (Cai et al. 2024, arXiv:2401.10774), with the
    network's own head.

    Args:
        network: the decoder, given by the task.
        count: tokens to predict after the next one.
        weight: of the loss of these predictions, a mean over `count`, beside that of the next token.
    """

    def __init__(self, network: Decoder, count: int = 1, weight: float = 0.2) -> None:
        super().__init__()
        if not 1 <= count < network.context:
            raise UserError(f"count is {count}: give the number of tokens to predict after the next one, 1 or more")
        self.count, self.weight = count, weight
        self.steps = nn.ModuleList(Linear(network.dim, network.dim, bias=True) for _ in range(count))

    def forward(self, network: Decoder, hidden: Tensor, tokens: Tensor, documents: Tensor | None) -> Iterator[Tensor]:
        """For the k-th step (B, T - k, D), made of the network's hidden states (B, T, D) alone."""
        for k, step in enumerate(self.steps, 1):
            seen = hidden[:, :-k]
            yield seen + F.silu(step(seen))
