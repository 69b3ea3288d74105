"""The encoder-decoder: one row is read as a whole, and another is written token by token while looking there."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.kinds import Memory
from lmkit.network.cache import Cache
from lmkit.network.decoder import Decoder
from lmkit.network.encoder import Encoder
from lmkit.network.transformer import Network, settle


class EncoderDecoder(Network):
    """An encoder, and a decoder that looks at what it has read (T5, Raffel et al. 2020, arXiv:1910.10683).

    Args:
        encoder: recipe of the encoder; its head is unused.
        decoder: recipe of the decoder, whose block is `CrossPreNorm` or another that looks at the encoder's states.
        shared: whether both have the same embedding.
    """

    def __init__(self, encoder: Callable[[], Encoder], decoder: Callable[[], Decoder], shared: bool = True) -> None:
        super().__init__()
        device = torch.get_default_device()
        with torch.device("meta"):
            self.encoder, self.decoder = encoder(), decoder()
        for name in ("vocab_size", "dim"):
            ours, theirs = getattr(self.encoder, name), getattr(self.decoder, name)
            if ours != theirs:
                raise UserError(f"{name} is {ours} in the encoder and {theirs} in the decoder: make them the same")
        blocks: Any = self.decoder.blocks
        if not any(block.reads_memory or block.attention.reads_memory for block in blocks):
            raise UserError(
                "no block of the decoder looks at what the encoder has read: set decoder.block to CrossPreNorm"
            )
        self.vocab_size, self.dim, self.context = self.decoder.vocab_size, self.decoder.dim, self.encoder.context
        self.encoder.head = None
        if shared:
            self.encoder.embedding = self.decoder.embedding
        settle(self, device)

    def forward(
        self,
        read: Tensor,
        write: Tensor,
        read_documents: Tensor | None = None,
        write_documents: Tensor | None = None,
    ) -> Tensor:
        """Token ids to read (B, S) and to write (B, T), to hidden states of the latter (B, T, D).

        Args:
            read: ids in [0, V).
            write: ids in [0, V).
            read_documents: the document of each token that is read (B, S), below 0 for padding, which is not looked at.
                None if a row is one text.
            write_documents: the document of each token that is written (B, T); none if a row is one text, which looks
                at all that is read but padding.
        """
        return self.decoder(write, write_documents, memory=self.memory(read, read_documents))

    def memory(self, read: Tensor, documents: Tensor | None = None) -> Memory:
        """What the encoder makes of token ids (B, S), for the decoder to look at."""
        return Memory(self.encoder(read, documents), documents)

    def logits(self, hidden: Tensor) -> Tensor:
        """The decoder's hidden states (..., D) to logits (..., V)."""
        return self.decoder.logits(hidden)

    @property
    def head_weight(self) -> Tensor:
        """The matrix (V, D) from hidden states to logits."""
        return self.decoder.head_weight

    def cache(self, capacity: int | None = None) -> Cache:
        """An empty cache of the decoder for `capacity` tokens; none for its context."""
        return self.decoder.cache(capacity)
