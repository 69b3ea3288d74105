"""What a decoder is made of, as plain values by dotted names: the form in which networks and families are compared.

`norm: {class_path: RMSNorm, init_args: {eps: 1e-5}}` is `{"norm": "RMSNorm", "norm.eps": 1e-5}` here. Every option is
there, those that a recipe leaves to their defaults too, and none that a layer works out by itself is left open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from lmkit.hf.tables.options import defaults, flat, is_part, nested, of_part
from lmkit.network import Decoder
from lmkit.network.pattern import Layer, tile

OF_A_LAYER = ("attention", "feed_forward", "position")
"""The parts that may differ from layer to layer."""

TRAINING = ("block.dropout", *(f"feed_forward.router.{name}" for name in ("balance_weight", "z_weight", "rate")))
"""Options that change how a network learns, not what it computes."""

Flat = dict[str, Any]
"""Values by dotted names; a part stands for its class by name."""


@dataclass
class Anatomy:
    """The parts of a decoder.

    Attributes:
        whole: what the network has once.
        layers: what each layer has of its own, by names that begin with one of `OF_A_LAYER`.
    """

    whole: Flat = field(default_factory=dict)
    layers: list[Flat] = field(default_factory=list)

    def sizes(self, layer: int | None) -> dict[str, int]:
        """The whole numbers among the options, with those of a layer."""
        own = self.layers[layer] if layer is not None else {}
        return {name: value for name, value in (self.whole | own).items() if type(value) is int}

    def complete(self) -> "Anatomy":
        """The same with the defaults of the options that are not named."""
        whole = _complete(self.whole, defaults("Decoder", but=("pattern", *OF_A_LAYER)))
        return Anatomy(_without_training(whole), [_without_training(_complete(own)) for own in self.layers])


def anatomy_of(recipe: Mapping[str, Any], network: Decoder) -> Anatomy:
    """The parts of a network.

    Args:
        recipe: its recipe, `class_path` and `init_args`, in full.
        network: built by it, on any device.
    """
    options = of_part(recipe)
    pattern = options.pop("pattern") or [{}]
    shared = {kind: options.pop(kind) for kind in OF_A_LAYER}
    layers = []
    for number, entry in enumerate(tile([Layer(repeat=layer.get("repeat", 1)) for layer in pattern], options["depth"])):
        block: Any = network.blocks[number]
        position = [network.position, *network.layer_positions][network.position_of[number]]
        made = {"attention": block.attention, "feed_forward": block.feed_forward, "position": position}
        own: Flat = {}
        for kind in OF_A_LAYER:
            own |= flat(kind, pattern[entry].get(kind) or shared[kind], made[kind])
        layers.append(_without_training(own))
    whole: Flat = {}
    for name, value in options.items():
        whole |= flat(name, value)
    return Anatomy(_without_training(whole), layers)


def recipe_of(anatomy: Anatomy) -> dict[str, Any]:
    """The recipe of a decoder with these parts, the layers that differ as its pattern."""
    parts = [{kind: _under(layer, kind) for kind in OF_A_LAYER} for layer in anatomy.layers]
    common = {
        kind: max((layer[kind] for layer in parts), key=[layer[kind] for layer in parts].count) for kind in OF_A_LAYER
    }
    whole = anatomy.whole | {name: value for flat in common.values() for name, value in flat.items()}
    pattern = []
    for layer, repeat in _runs(_shortest(parts)):
        entry = nested(
            {name: value for kind in OF_A_LAYER if layer[kind] != common[kind] for name, value in layer[kind].items()}
        )
        pattern.append(entry | ({"repeat": repeat} if repeat > 1 else {}))
    options = nested(whole) | {"pattern": pattern if len(pattern) > 1 else None}
    order = list(of_part({"class_path": "Decoder"}))
    known = {
        name: options[name] for name in sorted(options, key=lambda name: order.index(name) if name in order else -1)
    }
    return {"class_path": "Decoder", "init_args": known}


def _complete(names: Flat, found: Flat | None = None) -> Flat:
    """With the defaults of all parts that are named, beside or in place of those of `found`."""
    found = dict(found or {})
    for name, value in sorted(names.items(), key=lambda item: item[0].count(".")):  # a part before its options
        if is_part(value):
            found = {other: kept for other, kept in found.items() if not other.startswith(f"{name}.")}
            found |= {f"{name}.{option}": default for option, default in defaults(value).items()}
        found[name] = value
    return found


def _without_training(names: Flat) -> Flat:
    return {name: value for name, value in names.items() if name not in TRAINING}


def _under(layer: Flat, kind: str) -> Flat:
    """One part of a layer, with its options."""
    return {name: value for name, value in layer.items() if name.partition(".")[0] == kind}


def _shortest(layers: list[Any]) -> list[Any]:
    """The fewest layers that give all when they are begun anew as often as needed."""
    return next(
        layers[:n] for n in range(1, len(layers) + 1) if all(layers[i] == layers[i % n] for i in range(len(layers)))
    )


def _runs(layers: list[Any]) -> list[tuple[Any, int]]:
    """Equal neighbours as one, with their number."""
    return [(layer, len(list(run))) for layer, run in groupby(layers)]
