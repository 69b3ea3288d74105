"""An architecture of llama.cpp: two tables, of the keys of its files and of their tensors, like a family's.

Whether llama.cpp computes what a network does is one question: do the keys of it, read again, give the same network?
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lmkit.errors import UserError
from lmkit.hf.gguf.entries import UNWRITTEN
from lmkit.hf.tables.anatomy import Anatomy, Flat
from lmkit.hf.tables.entry import Entry, NotOfFamily
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tables.values import Config


@dataclass(frozen=True)
class Architecture:
    """How llama.cpp's files say what lmkit's parts are.

    Attributes:
        name: that of `general.architecture`, by which its keys begin.
        keys: their entries, in the order in which they are read.
        weights: the rules of its tensors.
        copied: what llama.cpp wants a second time where the embedding is the head too, by the name in the file.
    """

    name: str
    keys: tuple[Entry, ...]
    weights: tuple[Rule, ...]
    copied: str | None = None

    def write(self, anatomy: Anatomy) -> tuple[Config, list[str]]:
        """The keys of a network's file by their whole names, and in what llama.cpp would compute something else."""
        config: Config = {}
        again, said = Anatomy(), []
        for entry in self.keys:
            try:
                entry.write(anatomy, config)
                entry.read(config, again)
            except NotOfFamily as error:
                said.append(str(error))
            except (UserError, KeyError):  # of a part that the network has not, which differs then too
                continue
        said += _differences(closed(anatomy), closed(again.complete()))
        return {f"{self.name}.{key}": value for key, value in config.items() if not key.startswith(UNWRITTEN)}, list(
            dict.fromkeys(said)
        )


def closed(anatomy: Anatomy) -> Anatomy:
    """The same without what layers work out by themselves being left open."""
    layers = []
    for layer in anatomy.layers:
        known = dict(layer)
        if "attention.out_bias" in known and known["attention.out_bias"] is None:
            known["attention.out_bias"] = known["attention.bias"]
        layers.append(known)
    return Anatomy(anatomy.whole, layers)


def chosen(anatomy: Anatomy, architectures: tuple[Architecture, ...]) -> tuple[Architecture, Config]:
    """The first architecture that says what a network computes, and the keys.

    Raises:
        UserError: none does; with why not the one that says most of it.
    """
    reasons: dict[str, list[str]] = {}
    for architecture in architectures:
        keys, said = architecture.write(anatomy)
        if not said:
            return architecture, keys
        if architecture.name not in reasons or len(said) < len(reasons[architecture.name]):
            reasons[architecture.name] = said
    nearest = min(reasons, key=lambda name: len(reasons[name]))
    raise UserError(
        f"llama.cpp has no architecture that computes what this network does; it is no {nearest}, the nearest, since "
        f"{reasons[nearest][0]}: export it for transformers instead"
    )


def _differences(one: Anatomy, other: Anatomy) -> Iterator[str]:
    """What two networks differ in, each in a few words."""
    for flat, again in [(one.whole, other.whole), *zip(one.layers, other.layers, strict=False)]:
        for name in sorted({*flat, *again}):
            if not _same(flat, again, name):
                yield f"{name} is {flat.get(name)!r}, not {again.get(name)!r}"


def _same(flat: Flat, again: Flat, name: str) -> bool:
    one, other = flat.get(name), again.get(name)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other))
    return one == other
