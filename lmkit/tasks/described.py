"""What networks and losses are made of, as plain values, by which they are told apart where no tensor does it."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from lmkit.data.corpus.identity import code_of
from lmkit.optim.groups import DECAYS, FACTOR

LEARNING = ("training", FACTOR, DECAYS)
"""What modules say of how they learn, which changes nothing of what they compute."""


def described(network: nn.Module) -> list[Any]:
    """The parts of a network with their plain options, such as a window, and the code that is not of lmkit or torch.

    Raises:
        UserError: the code of a part is in no file.
    """
    found = []
    for name, part in network.named_modules():
        held = ((key, value) for key, value in vars(part).items() if key not in LEARNING)
        options = sorted((key, repr(value)) for key, value in held if _is_plain(value))
        found.append([name, type(part).__name__, options])
    classes = {base for part in network.modules() for base in type(part).__mro__ if not _is_torchs(base)}
    return [found, sorted({*code_of(classes)})]


def as_recipe(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with their parts, such as a loss, as a recipe would name them.

    Args:
        options: plain values and parts, by name.
    """
    return {
        name: value if _is_plain(value) else {"class_path": type(value).__name__, "init_args": _options(value)}
        for name, value in options.items()
    }


def _options(part: object) -> dict[str, Any]:
    """What the constructor's parameters were, as far as plain attributes of the same names tell."""
    held = {name: getattr(part, name) for name in inspect.signature(type(part)).parameters if hasattr(part, name)}
    return {name: value for name, value in held.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return isinstance(value, bool | int | float | str | None)


def _is_torchs(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "torch"
