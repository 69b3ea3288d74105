"""The layer under check: how it is made at a size, called by itself, and put into a small network."""

import typing
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers import (
    GELU,
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
    RMSNorm,
    Rotary,
    Router,
    SelfAttention,
)
from lmkit.network import Block, CrossPreNorm, Decoder
from lmkit.testing.given import ACTIVE, EXPERTS, GIVEN, SIZES, Size, kind_of, signature
from lmkit.testing.reading import memory, read, stir

VOCABULARY = 50
MIXING = (Attention, Block)
"""The kinds that mix tokens, and are told by an `At` where these stand."""


class Subject:
    """A class with its options, at the first size of `SIZES` that its constructor accepts.

    Args:
        cls: a concrete class of one of the kinds of `GIVEN`.
        options: what a recipe would name in `init_args`; parts and numbers without a default may be left out.

    Raises:
        UserError: the class is of no kind, or no size suits it.
    """

    def __init__(self, cls: type, options: dict[str, Any] | None = None) -> None:
        kind = kind_of(cls)
        if kind is None:
            kinds = ", ".join(known.__name__ for known in GIVEN)
            raise UserError(f"{cls.__name__} is of no kind that can be checked: make it a subclass of one of {kinds}")
        self.cls, self.kind, self.given = cls, kind, dict(options or {})
        self.parameters = signature(cls)
        self.size = self._suitable()
        self.options = self._options(self.size)

    def make(self, size: Size | None = None, **changes: Any) -> Any:
        """A fresh layer, as its constructor leaves it; of a router the mixture that it routes."""
        size = size or self.size
        options = self._options(size) | changes
        if self.kind is Router:
            return _mixture(partial(self.cls, **options), size.dim)
        return self.cls(*GIVEN[self.kind](size), **options)

    def layer(self, seed: int = 0, **changes: Any) -> Any:
        """A layer in float64 whose parameters are stirred, not in training."""
        return stir(self.make(**changes), seed).double().eval()

    def network(self, position: type[Position] | None = None, **changes: Any) -> Decoder:
        """A small decoder in float64 with this layer in its place, stirred, not in training."""
        options = self._options(self.size) | changes
        recipe: Any = partial(self.cls, **options)
        place: dict[type, str] = {
            Norm: "norm",
            FeedForward: "feed_forward",
            Attention: "attention",
            Position: "position",
        }
        parts: dict[str, Any] = {"position": position or self.positions[0]}
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

    def has(self, option: str) -> bool:
        """Whether the constructor takes an option of this name."""
        return any(parameter.name == option for parameter in self.parameters)

    def _suitable(self) -> Size:
        refused = None
        for size in SIZES:
            try:
                self.make(size)
                return size
            except UserError as error:
                refused = error
            except TypeError as error:
                raise UserError(f"{self.cls.__name__} cannot be constructed: {error}") from error
        raise UserError(f"{self.cls.__name__} refuses every size up to dim {SIZES[-1].dim}: {refused}")

    def _options(self, size: Size) -> dict[str, Any]:
        """The options given, and for each one without a default a plain part, or the number 2."""
        plain = {CrossAttention: partial(CrossAttention, heads=size.heads), Norm: RMSNorm, Activation: GELU}
        plain |= {Attention: SelfAttention, FeedForward: MLP, Position: Rotary}
        hints, chosen = _hints(self.cls), dict[str, Any]()
        for parameter in self.parameters[len(GIVEN[self.kind](size)) :]:
            hint = hints.get(parameter.name)
            result = (typing.get_args(hint) or (None,))[-1]  # of a recipe
            if parameter.default is not parameter.empty:
                continue
            if hint in (int, float):
                chosen[parameter.name] = hint(2)
            elif result in plain:
                chosen[parameter.name] = plain[result]
        return chosen | self.given


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


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls.__init__)  # type: ignore[misc]
    except Exception:  # a name that is imported for type checkers only
        return {}
