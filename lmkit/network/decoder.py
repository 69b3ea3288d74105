"""The decoder: token ids to hidden states to logits, out of parts that are chosen by recipe."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers import MLP, RMSNorm, Rotary, SelfAttention
from lmkit.layers.kinds import Attention, Embedding, FeedForward, Linear, Norm, Position, check_resets, initialize
from lmkit.network.block import Block, PreNorm
from lmkit.network.cache import Cache, LayerCache


class Decoder(nn.Module):
    """A causal transformer (GPT).

    Args:
        vocab_size: number of token ids V; at least that of the tokenizer.
        context: the longest row of tokens that it is made for.
        dim: width D of the residual stream.
        depth: number of blocks.
        heads: number of attention heads H.
        norm: `LayerNorm`, `RMSNorm` or a plugin.
        position: `Rotary`, `Learned`, `Sinusoidal`, `ALiBi`, `NoPosition` or a plugin.
        attention: `SelfAttention` or a plugin.
        feed_forward: `MLP`, `Gated` or a plugin.
        block: `PreNorm`, `PostNorm`, `SandwichNorm` or a plugin.
        tied: whether the head shares the embedding's weights (Press and Wolf 2017, arXiv:1608.05859).
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the place where all parts are put together)
        self,
        vocab_size: int,
        context: int,
        dim: int,
        depth: int,
        heads: int,
        norm: Callable[[int], Norm] = RMSNorm,
        position: Callable[[int, int, int], Position] = Rotary,
        attention: Callable[[int, int], Attention] = SelfAttention,
        feed_forward: Callable[[int], FeedForward] = MLP,
        block: Callable[[int, int, Callable[[int], Norm], Attention, FeedForward], Block] = PreNorm,
        tied: bool = True,
    ) -> None:
        super().__init__()
        counts = {"vocab_size": vocab_size, "context": context, "dim": dim, "depth": depth, "heads": heads}
        for name, number in counts.items():
            if number < 1:
                raise UserError(f"{name} is {number}, but a network needs 1 or more: correct model.network.{name}")
        self.vocab_size, self.context, self.dim = vocab_size, context, dim
        device = torch.get_default_device()
        with torch.device("meta"):  # nothing is drawn twice, and a network of any size can be described without memory
            self.embedding = Embedding(vocab_size, dim)
            self.position = position(dim, heads, context)
            self.blocks = nn.ModuleList(
                block(dim, depth, norm, attention(dim, heads), feed_forward(dim)) for _ in range(depth)
            )
            self.norm = nn.Identity() if self.blocks[-1].gives_normed else norm(dim)
            self.head = None if tied else Linear(dim, vocab_size)
        check_resets(self)
        if device.type != "meta":
            initialize(self, device)

    def forward(self, tokens: Tensor, documents: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Token ids (B, T) to hidden states (B, T, D).

        Args:
            tokens: ids in [0, V).
            documents: the document of each token (B, T), never falling along a row; attention does not cross them and
                positions start anew in each. None if the row is one text.
            cache: the past of the same rows, which is extended; excludes `documents`.
        """
        x, at = self.position(self.embedding(tokens), self._positions(tokens, documents, cache))
        at = replace(at, documents=documents, masks={})  # new, for a position that gives the same `At` twice
        caches: Sequence[LayerCache | None] = cache.layers if cache else [None] * len(self.blocks)
        for block, past in zip(self.blocks, caches, strict=True):
            x = block(x, replace(at, cache=past) if past else at)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., D) to logits (..., V)."""
        return F.linear(hidden, self.head_weight)

    @property
    def head_weight(self) -> Tensor:
        """The matrix (V, D) from hidden states to logits."""
        return self.embedding.weight if self.head is None else self.head.weight

    def cache(self, capacity: int | None = None) -> Cache:
        """An empty cache for `capacity` tokens; none for the context."""
        return Cache(len(self.blocks), capacity or self.context)

    def _positions(self, tokens: Tensor, documents: Tensor | None, cache: Cache | None) -> Tensor:
        """Positions within the document (B or 1, T)."""
        time = tokens.size(1)
        if cache is not None:
            if documents is not None:
                raise ValueError("a cache holds the past of one text a row: give documents or a cache, not both")
            return cache.advance(time, tokens.device)
        positions = torch.arange(time, device=tokens.device).unsqueeze(0)
        if documents is None:
            return positions
        opens = F.pad(documents[:, 1:] != documents[:, :-1], (1, 0))
        return positions - (positions * opens).cummax(dim=1).values
