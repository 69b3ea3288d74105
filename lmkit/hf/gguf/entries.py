"""Entries of an architecture's table that are of llama.cpp alone, beside those of `lmkit.hf.tables.keys`."""

from collections.abc import Callable
from typing import Any

from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import Entry, NotOfFamily, put, taken
from lmkit.hf.tables.keys import Key, Way
from lmkit.hf.tables.values import Config

UNWRITTEN = "_"
"""How keys begin that no file holds, since its tensors tell what they say."""


class Number(Key):
    """A key whose value is a floating-point number in the file, whatever it is in a recipe.

    Args:
        theirs: the key.
        ours: the option.
    """

    def __init__(self, theirs: str, ours: str) -> None:
        super().__init__(theirs, ours, way=Way(float, float), kind=float)


class Told(Entry):
    """An option that llama.cpp finds by looking which tensors there are, or does not tell apart.

    Args:
        ours: the option.
        among: the values that it may have; none for any.
    """

    def __init__(self, ours: str, among: tuple[Any, ...] | None = None) -> None:
        self.ours, self.among, self.theirs = ours, among, (UNWRITTEN + ours,)

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        if self.theirs[0] in config:
            put(anatomy, self.ours, config[self.theirs[0]])

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        for value in taken(anatomy, self.ours):
            if self.among is not None and value not in self.among:
                raise NotOfFamily(f"{self.ours} is {value!r}, not {' or '.join(map(repr, self.among))}")
            config[self.theirs[0]] = value


class Also(Entry):
    """A key that llama.cpp wants although it follows from others.

    Args:
        theirs: the key.
        value: what it is, or what gives it by the network's parts.
    """

    def __init__(self, theirs: str, value: Any | Callable[[Anatomy], Any]) -> None:
        self.theirs, self.value = (theirs,), value

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """Nothing."""

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """The value."""
        config[self.theirs[0]] = self.value(anatomy) if callable(self.value) else self.value


class Only(Entry):
    """What has to hold of a network, for llama.cpp knows no other.

    Args:
        holds: whether it does.
        said: what has to, for who reads why a network is refused.
    """

    def __init__(self, holds: Callable[[Anatomy], bool], said: str) -> None:
        self.holds, self.said = holds, said

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """Nothing."""

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        if not self.holds(anatomy):
            raise NotOfFamily(self.said)


class Windows(Entry):
    """Which layers see a window only, and how many tokens that is."""

    theirs = ("attention.sliding_window", "attention.sliding_window_pattern")

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        window, slides = (config[key] for key in self.theirs)
        for layer, slide in zip(anatomy.layers, slides, strict=True):
            layer["attention.window"] = window if slide else None

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`; with no window at all one that no layer has."""
        windows = [layer.get("attention.window") for layer in anatomy.layers]
        lengths = set(windows) - {None}
        if len(lengths) > 1:
            raise NotOfFamily("there are windows of several lengths")
        config[self.theirs[0]] = next(iter(lengths), anatomy.whole["context"])
        config[self.theirs[1]] = [window is not None for window in windows]
