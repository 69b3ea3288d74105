"""What all entries of a config's table are, and how they set and take the options of a network."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.tables.anatomy import OF_A_LAYER, Anatomy
from lmkit.hf.tables.values import Config

MOST_LAYERS = 10_000
"""Of any network, so that a number that is none does not fill the memory."""


class NotOfFamily(Exception):
    """A network has what the family cannot say."""


class Entry(ABC):
    """A line of a family's table.

    Attributes:
        theirs: the keys of the config that it reads.
    """

    theirs: tuple[str, ...] = ()

    @abstractmethod
    def read(self, config: Config, anatomy: Anatomy) -> None:
        """Takes what the config says into the anatomy.

        Raises:
            UserError: the config lacks it, or says what no network of ours can have.
        """

    @abstractmethod
    def write(self, anatomy: Anatomy, config: Config) -> None:
        """Puts what the anatomy says into the config.

        Raises:
            NotOfFamily: the family cannot say it.
        """


def put(anatomy: Anatomy, ours: str, value: Any, only: str | None = None) -> None:
    """Sets an option, of each layer that has it."""
    if not of_a_layer(ours):
        anatomy.whole[ours] = value
    if ours == "depth":
        if value > MOST_LAYERS:
            raise UserError(f"config.json describes {value} layers, but no network has more than {MOST_LAYERS}")
        anatomy.layers = [{} for _ in range(value)]
    for layer in anatomy.layers if of_a_layer(ours) else ():
        if only is None or has(layer, ours, only):
            layer[ours] = value


def taken(anatomy: Anatomy, ours: str, only: str | None = None) -> list[Any]:
    """The values of an option: none if no layer has it, else one.

    Raises:
        NotOfFamily: layers have different ones.
    """
    flats = anatomy.layers if of_a_layer(ours) else [anatomy.whole]
    found = [flat[ours] for flat in flats if ours in flat and (only is None or has(flat, ours, only))]
    if any(value != found[0] for value in found):
        raise NotOfFamily(f"{ours} differs from layer to layer")
    return found[:1]


def of_a_layer(ours: str) -> bool:
    """Whether an option belongs to a layer's part."""
    return ours.partition(".")[0] in OF_A_LAYER


def has(layer: Mapping[str, Any], ours: str, only: str) -> bool:
    """Whether the part of a layer that an option belongs to is of a class."""
    return layer.get(ours.partition(".")[0]) == only
