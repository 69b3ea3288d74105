"""The layer under check: called by itself, and put into a small network."""

from copy import deepcopy
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from lmkit.layers import (
    MLP,
    Activation,
    ALiBi,
    Attention,
    CrossAttention,
    FeedForward,
    MixtureOfExperts,
    NoPosition,
    Norm,
    Position,
    Rotary,
    Router,
)
from lmkit.network import Block, CrossPreNorm, Decoder
from lmkit.testing.given import ACTIVE, EXPERTS, VOCABULARY, Size
from lmkit.testing.reading import memory, read, stir
from lmkit.testing.subject import Subject

LAYERS: tuple[type, ...] = (Norm, Activation, FeedForward, Router, Attention, Position, Block)
"""The kinds that are layers."""

MIXING = (Attention, Block)
"""The kinds that mix tokens, and are told by an `At` where these stand."""


class Layer(Subject):
    """A class of one of the kinds of `LAYERS`; see `Subject`."""

    def make(self, size: Size | None = None, /, *first: Any, **changes: Any) -> Any:
        """A fresh layer, as its constructor leaves it; of a router the mixture that it routes."""
        if self.kind is not Router:
            return super().make(size, *first, **changes)
        size = size or self.size
        return _mixture(partial(self.cls, **self._options(size) | changes), size.dim)

    def told(self) -> str:
        """The size, and with what what mixes tokens is read."""
        dim, heads, context, depth = self.size
        names = [position.__name__ for position in self.positions] if self.kind in MIXING else []
        return f"at dim {dim}, heads {heads}, context {context}, depth {depth}" + (
            f", with {' and '.join(names)}" if names else ""
        )

    def layer(self, seed: int = 0, context: int | None = None, **changes: Any) -> Any:
        """A layer in float64 whose parameters are stirred, not in training; of a network of another context, if any."""
        return stir(self.make(self.sized(context), **changes), seed).double().eval()

    def sized(self, context: int | None) -> Size:
        """The size with another context, if any."""
        return self.size._replace(context=context or self.size.context)

    def network(self, position: type[Position] | None = None, **changes: Any) -> Decoder:
        """A small decoder in float64 with this layer in its place, stirred, not in training.

        It is built once and copied for each check: that is four times as fast.
        """
        position = position or self.positions[0]
        key = position, *sorted(changes.items())
        if key not in self._networks:
            self._networks[key] = self._network(position, **changes)
        try:
            return deepcopy(self._networks[key])
        except Exception:  # of a layer that holds what cannot be copied
            return self._network(position, **changes)

    @cached_property
    def _networks(self) -> dict[Any, Decoder]:
        return {}

    def _network(self, position: type[Position], **changes: Any) -> Decoder:
        options = self._options(self.size) | changes
        recipe: Any = partial(self.cls, **options)
        place: dict[type, str] = {
            Norm: "norm",
            FeedForward: "feed_forward",
            Attention: "attention",
            Position: "position",
        }
        parts: dict[str, Any] = {"position": position}
        if issubclass(self.cls, CrossAttention):
            parts["block"] = partial(CrossPreNorm, cross=partial(self.cls, heads=self.size.heads, **options))
        elif self.kind is Activation:
            parts["feed_forward"] = partial(MLP, activation=recipe)
        elif self.kind is Router:
            parts["feed_forward"] = lambda dim: _mixture(recipe, dim)
        else:
            parts[place.get(self.kind, "block")] = recipe
        dim, heads, context, depth = self.size
        return stir(Decoder(VOCABULARY, context, dim, depth, heads, **parts)).double().eval()

    @cached_property
    def positions(self) -> list[type[Position]]:
        """What to read the layer with: of what mixes tokens all that it runs with, a rotation and a bias."""
        if self.kind is Position:
            return [self.cls]
        if self.kind not in MIXING:
            return [Rotary]
        usable: list[type[Position]] = []
        for position in (Rotary, ALiBi):
            try:
                read(self.network(position), self.tokens(1))
                usable.append(position)
            except Exception:  # what is wrong with it, if anything is, the checks will say
                continue
        return usable or [NoPosition]

    def tokens(self, rows: int = 2) -> Tensor:
        """Token ids (B, T), always the same ones."""
        return torch.randint(VOCABULARY, (rows, self.size.context), generator=torch.Generator().manual_seed(1))

    def stream(self, rows: int = 2, time: int | None = None, seed: int = 2) -> Tensor:
        """A stream (B, T, D) in float64."""
        shape = (rows, time or self.size.context, self.size.dim)
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def call(self, layer: Any, x: Tensor, size: Size | None = None, first: int = 0, **at: Any) -> list[Tensor]:
        """What a layer makes of (B, T, D): first the stream (B, T, D), then what a position tells the layers.

        Args:
            layer: made by this subject.
            x: the stream.
            size: the layer's, if not this subject's.
            first: position of the first token.
            at: further fields of `At`.
        """
        return run(layer, *self.arguments(x, size, first, **at))

    def arguments(self, x: Tensor, size: Size | None = None, first: int = 0, **at: Any) -> tuple[Any, ...]:
        """What the layer's forward takes, as in `call`."""
        dim, heads, context, _ = size or self.size
        positions = torch.arange(first, first + x.size(1), device=x.device)[None]
        if self.kind is Position:
            return x, positions
        if self.kind not in MIXING:
            return (x,)
        _, told = self.positions[0](dim, heads, context).to(x.device)(x, positions)
        return x, replace(told, **{"memory": memory(x)} | at)


def _mixture(router: Any, dim: int) -> MixtureOfExperts:
    return MixtureOfExperts(dim, EXPERTS, ACTIVE, router=router)


def run(layer: Any, x: Tensor, *more: Any) -> list[Tensor]:
    """What a layer's forward gives, as tensors; of a position's bias that at all distances up to T."""
    result = layer(x, *more)
    if not isinstance(result, tuple):
        return [result]
    (y, at), (positions,) = result, more
    bias = [] if at.bias is None else [at.bias(positions.transpose(0, 1) - positions)]
    return [y, *(at.rotation[:2] if at.rotation else ()), *bias]
