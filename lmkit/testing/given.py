"""What each kind is given first, by the network or the task, and at which sizes it is checked."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from lmkit.kinds import KINDS
from lmkit.layers import MLP, RMSNorm, SelfAttention
from lmkit.network import Decoder


class Size(NamedTuple):
    """Numbers that the network gives: width, heads, tokens of the longest row, blocks."""

    dim: int
    heads: int
    context: int = 16
    depth: int = 2


SIZES = (Size(24, 4), Size(64, 4), Size(128, 4), Size(512, 4))
"""Tried in turn, until one suits the class."""

STEPS = 1000
"""The length of a run, for schedules."""

EXPERTS, ACTIVE = 4, 2
"""Of the mixture that a router is checked in."""

VOCABULARY = 50

VALUES: dict[str, Callable[[Size], Any]] = {
    "dim": lambda size: size.dim,
    "heads": lambda size: size.heads,
    "context": lambda size: size.context,
    "depth": lambda size: size.depth,
    "vocab_size": lambda size: VOCABULARY,
    "experts": lambda size: EXPERTS,
    "active": lambda size: ACTIVE,
    "norm": lambda size: RMSNorm,
    "attention": lambda size: SelfAttention(size.dim, size.heads),
    "feed_forward": lambda size: MLP(size.dim),
    "network": lambda size: Decoder(VOCABULARY, size.context, size.dim, size.depth, size.heads),
    "steps": lambda size: STEPS,
    "params": lambda size: [nn.Linear(size.dim, size.dim, bias=False).weight],
}
"""What is given, by the names in the table of kinds; numbers among them also stand for options of that name."""

EVERY = tuple(kind.base for kind in KINDS.values())
"""The base classes of all kinds."""


def kind_of(cls: type) -> type | None:
    """The kind of a class; none if it has none."""
    return next((base for base in EVERY if issubclass(cls, base)), None)


def given(base: type) -> tuple[str, ...]:
    """The names of what a kind is given first."""
    return next(kind.given for kind in KINDS.values() if kind.base is base)


def signature(cls: type) -> list[inspect.Parameter]:
    """The parameters of a class's constructor; none where it has no constructor of its own, nor its kind."""
    owner = next(base for base in cls.__mro__ if "__init__" in vars(base))
    if not issubclass(owner, kind_of(cls) or cls):
        return []
    found = inspect.signature(cls).parameters.values()
    loose = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each for each in found if owner not in EVERY or each.kind not in loose]  # of a library's own base
