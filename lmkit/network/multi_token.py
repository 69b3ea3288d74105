"""Multi-token prediction: further heads that predict the tokens after the next one, to train with."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.weights import Linear
from lmkit.network.decoder import Decoder
from lmkit.network.further_heads import FurtherHeads
from lmkit.network.transformer import positions_within, settle


class MultiToken(FurtherHeads):
    """Blocks one after another, each of which sees one more true token and predicts the one after that, with the
    network's embedding and head (DeepSeek-V3, arXiv:2412.19437, section 2.2, equations 21 to 25).

    Args:
        network: the decoder, given by the task; the blocks are made as its last one is.
        count: tokens to predict after the next one.
        weight: of the loss of these predictions, a mean over `count`, beside that of the next token.
    """

    def __init__(self, network: Decoder, count: int = 1, weight: float = 0.3) -> None:
        super().__init__()
        if not 1 <= count < network.context:
            raise UserError(f"count is {count}: give the number of tokens to predict after the next one, 1 or more")
        self.count, self.weight = count, weight
        device = torch.get_default_device()
        with torch.device("meta"):
            self.steps = nn.ModuleList(_Step(network) for _ in range(count))
        settle(self, device)

    def forward(self, network: Decoder, hidden: Tensor, tokens: Tensor, documents: Tensor | None) -> Iterator[Tensor]:
        """The k-th step sees the tokens up to i + k; see `FurtherHeads`."""
        positions = positions_within(tokens, documents)
        for k, step in enumerate(self.steps, 1):
            seen = None if documents is None else documents[:, :-k]
            hidden = step(network, hidden[:, : tokens.size(1) - k], tokens[:, k:], positions[:, :-k], seen)
            yield hidden


class _Step(nn.Module):
    def __init__(self, network: Decoder) -> None:
        super().__init__()
        self.hidden_norm, self.token_norm = network.make_norm(), network.make_norm()
        self.join = Linear(2 * network.dim, network.dim)
        self.block, self.norm = network.make_block(), network.make_norm()

    def forward(
        self, network: Decoder, hidden: Tensor, tokens: Tensor, positions: Tensor, documents: Tensor | None
    ) -> Tensor:
        """Hidden states (B, T, D) and the tokens that follow (B, T) to hidden states (B, T, D)."""
        x, ats = network.embed(tokens, positions, documents=documents)
        joined = self.join(torch.cat([self.hidden_norm(hidden), self.token_norm(x)], dim=-1))
        return self.norm(self.block(joined, ats[-1]))
