"""What each kind is given first, by the network or the task, and at which sizes it is checked."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from lmkit.layers import MLP, Activation, Attention, FeedForward, Norm, Position, RMSNorm, Router, SelfAttention
from lmkit.network import Block
from lmkit.optim.schedules import Schedule


class Size(NamedTuple):
    """Numbers that the network gives: width, heads, tokens of the longest row, blocks."""

    dim: int
    heads: int
    context: int = 16
    depth: int = 2


SIZES = (Size(24, 4), Size(64, 4), Size(128, 4), Size(512, 4))
"""Tried in turn, until one suits the layer."""

STEPS = 1000
"""The length of a run, for schedules."""

EXPERTS, ACTIVE = 4, 2
"""Of the mixture that a router is checked in."""

GIVEN: dict[type, Callable[[Size], tuple[Any, ...]]] = {
    Norm: lambda size: (size.dim,),
    Activation: lambda size: (),
    FeedForward: lambda size: (size.dim,),
    Router: lambda size: (size.dim, EXPERTS, ACTIVE),
    Attention: lambda size: (size.dim, size.heads),
    Position: lambda size: (size.dim, size.heads, size.context),
    Block: lambda size: (size.dim, size.depth, RMSNorm, SelfAttention(size.dim, size.heads), MLP(size.dim)),
    Schedule: lambda size: (STEPS,),
}
"""Each kind with what it is given first."""


def kind_of(cls: type) -> type | None:
    """The kind of a class; none if it has none that the kit knows."""
    return next((kind for kind in GIVEN if issubclass(cls, kind)), None)


def signature(cls: type) -> list[inspect.Parameter]:
    """The parameters of a class's constructor; none where it has no constructor of its own, nor its kind."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    return [] if owner in (nn.Module, object) else list(inspect.signature(cls).parameters.values())
