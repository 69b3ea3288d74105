"""The kind of heads that predict the tokens after the next one, to train with, and what they have to predict."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

from torch import Tensor, nn

from lmkit.network.decoder import Decoder


class FurtherHeads(nn.Module, ABC):
    """A kind: multi-token prediction. A class is given the decoder and keeps nothing of it, since each forward is
    handed it again: a tensor has one owner.

    Attributes:
        count: steps, each of which predicts one token further on.
        weight: of the loss of these predictions, a mean over `count`, beside that of the next token.
    """

    count: int
    weight: float

    @abstractmethod
    def forward(self, network: Decoder, hidden: Tensor, tokens: Tensor, documents: Tensor | None) -> Iterator[Tensor]:
        """The network's hidden states (B, T, D), its tokens and their documents (B, T), to hidden states of each step.

        Yields:
            For the k-th step from 1 on hidden states (B, T - k, D), whose i-th predicts the token at i + k + 1, without
            having seen it, by the network's `logits`.
        """


def shifted(targets: Tensor, documents: Tensor | None, k: int, ignore: int) -> Tensor:
    """What the k-th step has to predict (B, T - k): the targets (B, T) k later, where those are of the same document.

    Args:
        targets: the token after each.
        documents: the document of each token; none where all are one.
        k: from 1 on.
        ignore: stands where nothing is to be predicted.
    """
    later = targets[:, k:]
    if documents is None:
        return later
    return later.masked_fill(documents[:, :-k] != documents[:, k:], ignore)
