"""Plain parts, numbers and words, for options that have no default, and small networks for all that needs one."""

import inspect
import typing
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

from torch.optim import AdamW, Optimizer

from lmkit.kinds import hints
from lmkit.layers import (
    GELU,
    MLP,
    Activation,
    Attention,
    CrossAttention,
    FeedForward,
    Norm,
    Position,
    RMSNorm,
    Rotary,
    SelfAttention,
)
from lmkit.network import CrossPreNorm, Decoder, Encoder, EncoderDecoder, Network, Transformer
from lmkit.optim import Constant, Schedule
from lmkit.testing.given import VALUES, VOCABULARY, Size

PLAIN: dict[Any, Any] = {int: 2, float: 2.0, str: "checked", Path: Path("checked"), list[str]: ["checked"]}
"""By the type of an option."""

PARTS: dict[Any, Any] = {
    Norm: RMSNorm,
    Activation: GELU,
    Attention: SelfAttention,
    FeedForward: MLP,
    Position: Rotary,
    Optimizer: AdamW,
    Schedule: Constant,
}
"""By the class that a recipe makes."""


def choose(cls: type, parameters: list[inspect.Parameter], size: Size) -> dict[str, Any]:
    """A value for each of a constructor's parameters that has no default, as far as one is known."""
    types, chosen = hints(cls), dict[str, Any]()
    for parameter in parameters:
        hint = types.get(parameter.name)
        if parameter.default is not parameter.empty:
            continue
        if hint is int and parameter.name in VALUES:
            chosen[parameter.name] = VALUES[parameter.name](size)
        elif hint == list[float]:
            chosen[parameter.name] = [2.0] * (size.dim // size.heads // 2)  # as many as there are pairs in a head
        elif hint in PLAIN:
            chosen[parameter.name] = copy(PLAIN[hint])
        elif (part := _part(hint, size, reading=issubclass(cls, EncoderDecoder))) is not None:
            chosen[parameter.name] = part
    return chosen


def network_of(asked: type, size: Size, **parts: Any) -> Any:
    """A recipe of a small network of a class, or of a decoder where that is left open; `parts` are a transformer's."""
    recipe = _part(Callable[[], asked], size, reading=False)
    return recipe if issubclass(asked, EncoderDecoder) else partial(recipe, **parts)


def small(network: type[Transformer], size: Size, **parts: Any) -> partial[Any]:
    """A recipe of a small network."""
    return partial(network, VOCABULARY, size.context, size.dim, size.depth, size.heads, **parts)


def _part(hint: Any, size: Size, reading: bool) -> Any:
    """A recipe of what a `Callable[..., Part]` makes; `reading` makes decoders look at what an encoder has read."""
    made = (typing.get_args(hint) or (None,))[-1]
    cross = partial(CrossAttention, heads=size.heads)
    if made in PARTS or made is CrossAttention:
        return cross if made is CrossAttention else PARTS[made]
    if not isinstance(made, type) or not issubclass(made, Network):
        return None
    looking = small(Decoder, size, block=partial(CrossPreNorm, cross=cross))
    if issubclass(made, EncoderDecoder):
        return partial(made, small(Encoder, size), looking)
    if reading and made is Decoder:
        return looking
    return small(made if issubclass(made, Transformer) and made is not Transformer else Decoder, size)
