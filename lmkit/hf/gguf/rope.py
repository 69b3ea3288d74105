"""Rotary positions in a GGUF file: numbers among its keys, and tensors by which frequencies are divided."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lmkit.hf.gguf.entries import UNWRITTEN
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import Entry, NotOfFamily
from lmkit.hf.tables.layer_keys import FULL, SLIDING, kind_of, without_position
from lmkit.hf.tables.options import class_of
from lmkit.hf.tables.values import Config

Position = dict[str, Any]
"""The options of a layer's position, by dotted names."""

PLAIN, INTERPOLATED, YARN, LLAMA3, LONG = "Rotary", "RotaryInterpolated", "RotaryYaRN", "RotaryLlama3", "RotaryLong"
NTK = "RotaryNTK"
WITHOUT_TENSORS = (PLAIN, NTK, INTERPOLATED, YARN)
"""What llama.cpp rotates by in any architecture."""


class Rope(Entry):
    """The rotation of all layers that have one, alike.

    Args:
        kinds: the classes of positions that the architecture knows.
        partial: whether it may rotate a part of each head only.
        width: the option that tells the width of a head.
    """

    theirs: tuple[str, ...] = (
        "rope.freq_base", "rope.dimension_count", "rope.scaling.type", "rope.scaling.factor",
        "rope.scaling.attn_factor", "rope.scaling.original_context_length", "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow", UNWRITTEN + "position",
    )  # fmt: skip

    def __init__(
        self, kinds: tuple[str, ...] = WITHOUT_TENSORS, partial: bool = False, width: str = "attention.head_dim"
    ) -> None:
        self.kinds, self.partial, self.width = kinds, partial, width

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        for number, layer in enumerate(anatomy.layers):
            anatomy.layers[number] = without_position(layer) | config[UNWRITTEN + "position"]

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        position = position_of([layer for layer in anatomy.layers if layer["position"] != "NoPosition"])
        if position["position"] not in self.kinds:
            raise NotOfFamily(f"position is {position['position']}, which llama.cpp has not there")
        whole = anatomy.layers[0][self.width]
        if position["position.width"] != whole and not self.partial:
            raise NotOfFamily(f"position.width is {position['position.width']}, not all {whole} of a head")
        config["rope.dimension_count"] = position["position.width"]
        config |= scaled(position, anatomy)
        config[UNWRITTEN + "position"] = position


class RopeByWindow(Entry):
    """A rotation of the layers that see all, and a plain one of those that see a window (Gemma 3)."""

    theirs = (
        "rope.freq_base", "rope.freq_base_swa", "rope.scaling.type", "rope.scaling.factor",
        UNWRITTEN + FULL, UNWRITTEN + SLIDING,
    )  # fmt: skip

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        for number, layer in enumerate(anatomy.layers):
            anatomy.layers[number] = without_position(layer) | config[UNWRITTEN + kind_of(layer)]

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`; where no layer is of a kind, that of the other stands for it."""
        by_kind = {
            kind: [layer for layer in anatomy.layers if kind_of(layer) == kind] or anatomy.layers
            for kind in (FULL, SLIDING)
        }
        for kind, known in ((FULL, (PLAIN, NTK, INTERPOLATED)), (SLIDING, (PLAIN, NTK))):
            position = position_of(by_kind[kind])
            if position["position"] not in known:
                raise NotOfFamily(f"position is {position['position']}, which llama.cpp has not in layers of {kind}")
            if position["position.width"] != anatomy.layers[0]["attention.head_dim"]:
                raise NotOfFamily("a part of each head only is rotated")
            found = scaled(position, anatomy)
            config |= found if kind == FULL else {"rope.freq_base_swa": found["rope.freq_base"]}
            config[UNWRITTEN + kind] = position


def position_of(layers: list[dict[str, Any]]) -> Position:
    """The position of some layers.

    Raises:
        NotOfFamily: they have several, or none that rotates.
    """
    found = [{name: value for name, value in layer.items() if name.startswith("position")} for layer in layers]
    if not found or any(other != found[0] for other in found):
        raise NotOfFamily("layers have several positions, or none")
    if "position.base" not in found[0]:
        raise NotOfFamily(f"position is {found[0]['position']}, which is no rotary one")
    return found[0]


def scaled(position: Position, anatomy: Anatomy) -> Config:
    """The keys that say by what a position rotates.

    Raises:
        NotOfFamily: llama.cpp computes it otherwise.
    """
    kind = position["position"]
    base = _made(position, anatomy).base if kind == NTK else position["position.base"]
    return {"rope.freq_base": float(base)} | (_SCALED[kind](position) if kind in _SCALED else {})


def frequency_factors(anatomy: Anatomy) -> dict[str, Tensor]:
    """The tensors by whose numbers llama.cpp divides the frequencies of pairs (R / 2)."""
    layer = next((layer for layer in anatomy.layers if layer["position"] in (LLAMA3, LONG)), None)
    if layer is None:
        return {}
    if layer["position"] == LONG:
        lists = {name: layer[f"position.{name}"] for name in ("long", "short")}
        return {f"rope_factors_{name}.weight": torch.tensor(numbers).float() for name, numbers in lists.items()}
    slowed, plain = (_made(layer | {"position": kind}, anatomy) for kind in (LLAMA3, PLAIN))
    cpu = torch.device("cpu")
    return {"rope_freqs.weight": plain.frequencies(cpu) / slowed.frequencies(cpu)}


def _made(layer: Position, anatomy: Anatomy) -> Any:
    """The module of a position, or one of another class with what options of it that has."""
    given = {name.removeprefix("position."): value for name, value in layer.items() if name.startswith("position.")}
    if layer["position"] == PLAIN:
        given = {name: given[name] for name in ("base", "width")}
    return class_of(layer["position"])(*(anatomy.whole[name] for name in ("dim", "heads", "context")), **given)


def _interpolated(position: Position) -> Config:
    return {"rope.scaling.type": "linear", "rope.scaling.factor": float(position["position.factor"])}


def _yarn(position: Position) -> Config:
    """llama.cpp multiplies cosines and sines by 0.1 ln(factor) + 1 and by what the file says besides."""
    if not position["position.truncate"]:
        raise NotOfFamily("position.truncate is False, but llama.cpp begins and ends YaRN's ramp at whole pairs")
    factor, amplitude = float(position["position.factor"]), position["position.attention_factor"]
    usual = 0.1 * math.log(factor) + 1
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": _whole(position["position.original_context"]),
        "rope.scaling.yarn_beta_fast": float(position["position.fast"]),
        "rope.scaling.yarn_beta_slow": float(position["position.slow"]),
        "rope.scaling.attn_factor": 1.0 if amplitude is None else amplitude / usual,
    }


def _long(position: Position) -> Config:
    return {
        "rope.scaling.type": "longrope",
        "rope.scaling.original_context_length": position["position.original_context"],
        "rope.scaling.attn_factor": float(position["position.attention_factor"]),
    }


def _whole(tokens: float) -> int:
    if tokens != int(tokens):
        raise NotOfFamily(f"position.original_context is {tokens:g}, which is no whole number")
    return int(tokens)


_SCALED: dict[str, Callable[[Position], Config]] = {INTERPOLATED: _interpolated, YARN: _yarn, LONG: _long}
