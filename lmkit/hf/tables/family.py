"""A family of models of Hugging Face: two tables, of its config's keys and of its files' tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

from lmkit.errors import UserError
from lmkit.hf.shown import says
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import Entry, NotOfFamily
from lmkit.hf.tables.keys import Is
from lmkit.hf.tables.known import KNOWN
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tables.values import Config, checked

NO_TOKENS = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
"""Said, as transformers would take those of the family's first models where a config says none."""


@dataclass(frozen=True)
class Family:
    """How a family's folders say what lmkit's parts are.

    Attributes:
        name: its `model_type`.
        architecture: its class in `architectures`.
        keys: the entries of its config, in the order in which they are read.
        weights: the rules of its tensors.
        prefix: what names of tensors begin with, all but the head's, and may lack in older files.
        known: keys that change nothing that is computed, beside those of any config.
        derived: patterns of tensors that may lie in a file although they follow from the config, such as masks.
        later: the key of how many layers come after the last, which guess later tokens and are left out; none if the
            family has none.
    """

    name: str
    architecture: str
    keys: tuple[Entry, ...]
    weights: tuple[Rule, ...]
    prefix: str = "model."
    known: tuple[str, ...] = ()
    derived: tuple[str, ...] = ("*.rotary_emb.inv_freq",)
    later: str | None = None

    def read(self, config: Config) -> Anatomy:
        """What a config describes.

        Raises:
            UserError: it says what lmkit cannot represent, or does not know.
        """
        told = {key for entry in self.keys for key in entry.theirs} | {self.later}
        for key, value in config.items():
            if key not in told and key not in KNOWN and key not in self.known and value not in (None, False, [], {}):
                raise UserError(
                    f"{says(key, value)}, which lmkit does not know in a {self.name}: if it changes "
                    "nothing that is computed take it out, else the folder cannot be imported"
                )
        anatomy = Anatomy()
        for entry in self.keys:
            entry.read(config, anatomy)
        self.left_out(config, anatomy)
        return anatomy.complete()

    def left_out(self, config: Config, anatomy: Anatomy) -> range:
        """The numbers of the layers that guess later tokens.

        Raises:
            UserError: the config does not say how many there are, but something else.
        """
        depth = len(anatomy.layers)
        if self.later is None or config.get(self.later) is None:
            return range(depth, depth)
        return range(depth, depth + int(checked(config, self.later, int, least=0)))

    def without_later(self, config: Config) -> Config:
        """A config of the network alone."""
        return {key: value for key, value in config.items() if key != self.later}

    def write(self, anatomy: Anatomy) -> Config:
        """The config of a network.

        Raises:
            NotOfFamily: it is not of this family.
        """
        config: Config = {"architectures": [self.architecture], "model_type": self.name, **NO_TOKENS}
        for entry in sorted(self.keys, key=lambda entry: not isinstance(entry, Is)):  # the classes of parts come first
            entry.write(anatomy, config)
        try:
            again = self.read(config)
        except UserError as error:
            raise NotOfFamily(str(error)) from error
        if differing := next(_differences(anatomy, again), None):
            raise NotOfFamily(differing)
        return config


def _differences(one: Anatomy, other: Anatomy) -> Iterator[str]:
    """What two networks differ in, each in a few words."""
    if len(one.layers) != len(other.layers):
        yield "depth"
    for flat, again in [(one.whole, other.whole), *zip(one.layers, other.layers, strict=False)]:
        for name in sorted({*flat, *again}):
            if not _same(flat.get(name), again.get(name)):
                yield f"{name} is {flat.get(name)!r}, not {again.get(name)!r}"


def _same(one: object, other: object) -> bool:
    """Whether two values are equal, but for the rounding of numbers on their way to a config and back."""
    if isinstance(one, float) or isinstance(other, float):
        both = [value for value in (one, other) if isinstance(value, int | float) and not isinstance(value, bool)]
        return len(both) == 2 and abs(both[0] - both[1]) <= 1e-12 * max(map(abs, both))
    return one == other and type(one) is type(other)
