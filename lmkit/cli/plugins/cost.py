"""What a layer or a network costs at a given size: parameters, and FLOPs of a training token, counted on meta."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lmkit.cli.plugins.snippet import SIZES, required
from lmkit.errors import UserError
from lmkit.kinds import Kind
from lmkit.layers import At, Memory
from lmkit.network import Decoder, Network, Transformer
from lmkit.registry import build

BESIDE = {"depth": 1, "experts": 8, "active": 2}
"""What a layer is given that is no size of the network around it."""

CALLS = ({"x"}, {"x", "at"}, {"x", "positions"}, {"network", "hidden", "tokens", "documents"})
"""What the forward of a layer, or of further heads, takes."""


class Size(NamedTuple):
    """Of the network around a layer.

    Attributes:
        dim: width D.
        heads: number of heads H.
        context: tokens of a row T.
    """

    dim: int
    heads: int
    context: int


class Cost(NamedTuple):
    """Of one layer.

    Attributes:
        parameters: how many numbers it learns.
        flops: of its matrix products for one training token, forward and backward; or why they cannot be counted.
    """

    parameters: int
    flops: float | str


def can_count(kind: Kind) -> bool:
    """Whether the classes of a kind are networks, or layers that are called with what a network has at hand."""
    if issubclass(kind.base, Network):
        return True
    forward = inspect.signature(kind.base.forward).parameters if hasattr(kind.base, "forward") else {}
    called = {*forward} - {"self"} in CALLS
    return called and {*kind.given} <= {*inspect.signature(Transformer).parameters, *BESIDE, "network"}


def cost(cls: type, kind: Kind, size: Size) -> Cost:
    """Counts one layer, or a network with the other sizes of `SIZES`.

    Raises:
        UserError: the layer cannot have this size.
        Exception: its constructor, or that no value is known for one of its options.
    """
    for name, number in size._asdict().items():
        if number < 1:
            raise UserError(f"--{name} is {number}: give 1 or more")
    with torch.device("meta"):
        layer = _make(cls, kind, size)
        parameters = sum(parameter.numel() for parameter in layer.parameters())
        try:
            flops: float | str = _flops(layer, kind, size) / size.context
        except Exception as error:  # of a layer that looks at its numbers
            flops = f"{type(error).__name__}: {error}"
    return Cost(parameters, flops)


def _make(cls: type, kind: Kind, size: Size) -> nn.Module:
    """A layer with the network's usual parts around it, and values for the options that have no default."""
    usual: dict[str, Any] = {name: p.default for name, p in inspect.signature(Transformer).parameters.items()}
    usual |= size._asdict() | BESIDE
    usual["attention"] = usual["attention"](size.dim, size.heads)
    usual["feed_forward"] = usual["feed_forward"](size.dim)
    usual["network"] = _network(size)
    options = required(cls, len(kind.given), SIZES | size._asdict())
    path = f"{cls.__module__}.{cls.__qualname__}"
    recipe: Any = Callable[[Any] * len(kind.given), kind.base]
    try:
        make = build(recipe, {"class_path": path, "init_args": options})
    except UserError as error:
        raise ValueError(f"no value is known that suits its options {', '.join(options)}") from error
    layer: nn.Module = make(*(usual[name] for name in kind.given))
    return layer


def _network(size: Size) -> Decoder:
    """A network that heads for later tokens are given."""
    return Decoder(SIZES["vocab_size"], size.context, size.dim, 1, size.heads)


def _flops(layer: nn.Module, kind: Kind, size: Size) -> int:
    """FLOPs of one row of tokens, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        results = _logits(layer, size) if isinstance(layer, Network) else _results(layer, kind, size)
        if learned := [result.sum() for result in results if result.requires_grad]:
            torch.stack(learned).sum().backward()
    return int(counter.get_total_flops())


def _logits(network: Network, size: Size) -> list[Tensor]:
    """Of one row of tokens; an encoder-decoder writes a row as long as the one that it reads."""
    taken = inspect.signature(network.forward).parameters.values()
    rows = sum(parameter.default is parameter.empty for parameter in taken)
    tokens = torch.zeros(1, size.context, dtype=torch.long)
    return [network.logits(network(*[tokens] * rows))]


def _results(layer: nn.Module, kind: Kind, size: Size) -> list[Tensor]:
    """Of a layer called with what its kind takes."""
    x = torch.zeros(1, size.context, size.dim, requires_grad=True)
    inputs = {
        "x": x,
        "at": At(memory=Memory(torch.zeros_like(x, requires_grad=True), None)),
        "positions": torch.arange(size.context).unsqueeze(0),
        "network": _network(size),
        "hidden": x,
        "tokens": torch.zeros(1, size.context, dtype=torch.long),
        "documents": None,
    }
    names = [name for name in inspect.signature(kind.base.forward).parameters if name != "self"]  # type: ignore[attr-defined]
    y = layer(*(inputs[name] for name in names))
    return [result for result in ((y,) if isinstance(y, Tensor) else y) if isinstance(result, Tensor)]
