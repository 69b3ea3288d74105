"""What decoder and encoder share: token ids to hidden states to logits, out of parts that are chosen by recipe."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers import MLP, RMSNorm, Rotary, SelfAttention
from lmkit.layers.kinds import At, Attention, FeedForward, Norm, Position
from lmkit.layers.places import places
from lmkit.layers.weights import Embedding, Linear, check_resets, initialize
from lmkit.network.block import Block, PreNorm
from lmkit.network.pattern import Layer, tile


class Network(nn.Module, ABC):
    """A kind: from token ids to hidden states, and to logits when asked.

    Attributes:
        vocab_size: number of token ids V.
        context: the longest row of tokens that it is made for.
        dim: width D of its hidden states.
    """

    vocab_size: int
    context: int
    dim: int

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., D) to logits (..., V)."""

    @property
    @abstractmethod
    def head_weight(self) -> Tensor:
        """The matrix (V, D) that `logits` reads."""


class Transformer(Network):
    """Embedding, positions, blocks, a last norm and a head; see its two kinds, `Decoder` and `Encoder`.

    Args:
        vocab_size: number of token ids V; at least that of the tokenizer.
        context: the longest row of tokens that it is made for.
        dim: width D of the residual stream.
        depth: number of blocks.
        heads: number of attention heads H.
        norm: such as `LayerNorm`; `lmkit plugins list norm` lists all.
        position: such as `Rotary`; `lmkit plugins list position` lists all.
        attention: such as `SelfAttention`; `lmkit plugins list attention` lists all.
        feed_forward: such as `Gated`; `lmkit plugins list feed_forward` lists all.
        block: such as `SandwichNorm`; `lmkit plugins list block` lists all.
        tied: whether the head shares the embedding's weights (Press and Wolf 2017, arXiv:1608.05859).
        pattern: layers that differ from the rest, repeated over the depth; none if all are alike.
        embedding_scale: multiplies the embeddings; Gemma's is the root of D.
        embedding_norm: a norm of the embeddings (BLOOM, arXiv:2211.05100); none for none.
        soft_cap: c, by which logits l become c tanh(l / c) (Gemma 2, arXiv:2408.00118); none for none.
    """

    causal: bool
    position_of: list[int]  # for each block, of `(position, *layer_positions)`, what tells it of positions

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
        pattern: list[Layer] | None = None,
        embedding_scale: float = 1.0,
        embedding_norm: Callable[[int], Norm] | None = None,
        soft_cap: float | None = None,
    ) -> None:
        super().__init__()
        _check_counts(vocab_size=vocab_size, context=context, dim=dim, depth=depth, heads=heads)
        if soft_cap is not None and soft_cap <= 0:
            raise UserError(f"soft_cap is {soft_cap}: give a logit above 0, such as 30, or leave it out for none")
        if embedding_scale <= 0:
            raise UserError(f"embedding_scale is {embedding_scale}: give a number above 0, such as the root of dim")
        self.vocab_size, self.context, self.dim = vocab_size, context, dim
        self.embedding_scale, self.soft_cap = embedding_scale, soft_cap
        entries, layers = tile(pattern, depth), pattern or [Layer()]
        own = [index for index, layer in enumerate(layers) if layer.position]
        self.position_of = [own.index(entry) + 1 if entry in own else 0 for entry in entries]
        make_block = partial(_make_block, attention, feed_forward, partial(block, dim, depth, norm), dim, heads)
        self.make_norm, self.make_block = partial(norm, dim), partial(make_block, layers[entries[-1]])
        device = torch.get_default_device()
        with torch.device("meta"):  # nothing is drawn twice, and a network of any size can be described without memory
            self.embedding = Embedding(vocab_size, dim)
            self.embedding_norm = embedding_norm(dim) if embedding_norm else nn.Identity()
            self.position = position(dim, heads, context)
            self.layer_positions = nn.ModuleList(
                make(dim, heads, context) for layer in layers if (make := layer.position) is not None
            )
            self.blocks = nn.ModuleList(make_block(layers[entry]) for entry in entries)
            self.norm = nn.Identity() if self.blocks[-1].gives_normed else norm(dim)
            self.head = None if tied else Linear(dim, vocab_size)
        for made in (self.position, *self.layer_positions):
            _check_ways(made, self.causal)
        settle(self, device)

    def read(self, tokens: Tensor, positions: Tensor, caches: Sequence[Any] | None = None, **at: Any) -> Tensor:
        """Token ids (B, T) at positions (B or 1, T) to hidden states (B, T, D).

        Args:
            tokens: ids in [0, V).
            positions: within the document.
            caches: the past of each block; none if there is none.
            at: what every layer is told beside what the positions say; fields of `At`.
        """
        x, ats = self.embed(tokens, positions, **at)
        for number, block in enumerate(self.blocks):
            x = block(x, replace(ats[number], cache=caches[number]) if caches else ats[number])
        return self.norm(x)

    def embed(self, tokens: Tensor, positions: Tensor, **at: Any) -> tuple[Tensor, list[At]]:
        """Token ids (B, T) at positions (B or 1, T) to what enters the first block (B, T, D), and each block's `At`."""
        x = self.embedding_norm(self.embedding(tokens) * self.embedding_scale)
        ats = []
        for position in (self.position, *self.layer_positions):
            x, told = position(x, positions)
            ats.append(replace(told, causal=self.causal, masks={}, **at))  # anew, lest one is given in two forwards
        return x, [ats[index] for index in self.position_of]

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., D) to logits (..., V)."""
        logits = F.linear(hidden, self.head_weight)
        return logits if self.soft_cap is None else self.soft_cap * torch.tanh(logits / self.soft_cap)

    @property
    def head_weight(self) -> Tensor:
        """The matrix (V, D) from hidden states to logits."""
        return self.embedding.weight if self.head is None else self.head.weight


def _make_block(
    attention: Callable[[int, int], Attention],
    feed_forward: Callable[[int], FeedForward],
    block: Callable[[Attention, FeedForward], Block],
    dim: int,
    heads: int,
    layer: Layer,
) -> Block:
    """A block of the pattern's parts, and of the network's own where the pattern names none."""
    mix, think = layer.attention or attention, layer.feed_forward or feed_forward
    return block(mix(dim, heads), think(dim))


def settle(network: nn.Module, device: torch.device) -> None:
    """Gives a network built on the meta device its memory and first values, unless it is to stay there.

    Raises:
        UserError: a part would be left unfilled.
    """
    check_resets(network)
    if device.type != "meta":
        initialize(network, device)


def positions_within(tokens: Tensor, documents: Tensor | None, branches: Tensor | None = None) -> Tensor:
    """The position of each token (B, T) within its document (B or 1, T); in each branch on from what all share."""
    if documents is None:
        return torch.arange(tokens.size(1), device=tokens.device).unsqueeze(0)
    return places(documents, branches)


def _check_ways(position: Position, causal: bool) -> None:
    if position.both_ways not in {None, not causal}:
        looks = "a decoder looks back only: set it to false" if causal else "an encoder looks both ways: set it to true"
        raise UserError(f"both_ways of {type(position).__name__} is {str(position.both_ways).lower()}, but {looks}")


def _check_counts(**counts: int) -> None:
    for name, number in counts.items():
        if number < 1:
            raise UserError(f"{name} is {number}, but a network needs 1 or more: correct model.network.{name}")
