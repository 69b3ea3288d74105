"""How a key of a Hugging Face config.json is an option of ours: entries of a table, each written once, read both ways.

An entry reads what a config says into an `Anatomy`, and writes what an anatomy says into a config. Whether a network is
of a family is then one question: does the family's config of it, read again, give the same network?
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lmkit.errors import UserError
from lmkit.hf.shown import brief, says
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.entry import Entry, NotOfFamily, has, put, taken
from lmkit.hf.tables.values import NEEDED, Config, Default, checked, value_of


class Way(NamedTuple):
    """How a value changes between the two."""

    to_ours: Callable[[Any], Any]
    to_theirs: Callable[[Any], Any]


SAME = Way(lambda value: value, lambda value: value)
ROOT_OF_ONE_OVER = Way(lambda number: number**-0.5, lambda root: _rounded(root**-2))


class Key(Entry):
    """A value by two names.

    Args:
        theirs: the key; where one has had several names, all of them, the one to write first.
        ours: the option; of each layer if it begins with the name of a layer's part.
        default: where a config has no such key, or null.
        only: the class of a layer's part that has the option, where not all layers have it.
        way: how the value changes.
        kind: of the value; none for that of the default, or for whole numbers if that is none.
        null: whether null says that there is none, rather than the default.
    """

    def __init__(
        self,
        theirs: str | tuple[str, ...],
        ours: str,
        default: Default = NEEDED,
        only: str | None = None,
        way: Way = SAME,
        kind: type | None = None,
        null: bool = False,
    ) -> None:
        self.theirs = (theirs,) if isinstance(theirs, str) else theirs
        self.ours, self.default, self.only, self.way, self.null = ours, default, only, way, null
        self.kind = kind or (type(default) if isinstance(default, bool | float) else int)

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        if self.only and not any(has(layer, self.ours, self.only) for layer in anatomy.layers):
            return
        key = next((key for key in self.theirs if config.get(key) is not None), self.theirs[0])
        value = None if self.null and key in config else value_of(config, key, self.default)
        if self.kind is bool and key in config:
            value = bool(value) and config[key] is not None  # null is as good as false
        if config.get(key) is not None:
            value = checked(config, key, self.kind, least=0 if self.default == 0 else 1)
        put(anatomy, self.ours, None if value is None else self.way.to_ours(value), self.only)

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        values = taken(anatomy, self.ours, self.only)
        if values:
            config[self.theirs[0]] = None if values[0] is None else self.way.to_theirs(values[0])


class Is(Entry):
    """What all networks of the family have, and no config says.

    Args:
        ours: the option.
        value: what it is, or what gives it by the options so far.
        only: as in `Key`.
    """

    def __init__(self, ours: str, value: Any | Callable[[Anatomy], Any], only: str | None = None) -> None:
        self.ours, self.value, self.only = ours, value, only

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        put(anatomy, self.ours, self.value(anatomy) if callable(self.value) else self.value, self.only)

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """Nothing; looks whether the network has it, unless that depends on others, which reading it again tells."""
        if callable(self.value):
            return
        for value in taken(anatomy, self.ours, self.only):
            if value != self.value:
                raise NotOfFamily(f"{self.ours} is {value!r}, not {self.value!r}")


class Must(Entry):
    """A key that changes what the network computes, and of which only one value is known here.

    Args:
        theirs: the key.
        value: that value, and the default.
    """

    def __init__(self, theirs: str, value: Any) -> None:
        self.theirs, self.value = (theirs,), value

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        came = config.get(self.theirs[0], self.value)
        if came != self.value and (came is not None or self.value):  # null is as good as false
            raise UserError(f"{says(self.theirs[0], came)}, which lmkit cannot represent, only {brief(self.value)}")

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """The value."""
        config[self.theirs[0]] = self.value


class Cases(Entry):
    """A key each of whose values stands for several options.

    Args:
        theirs: the key.
        cases: by value of the key the options; the first that fits is written.
        default: where a config has no such key or null.
        only: as in `Key`.
    """

    def __init__(
        self, theirs: str, cases: Mapping[Any, Mapping[str, Any]], default: Default = NEEDED, only: str | None = None
    ) -> None:
        self.theirs, self.cases, self.default, self.only = (theirs,), cases, default, only

    def read(self, config: Config, anatomy: Anatomy) -> None:
        """See `Entry`."""
        value = value_of(config, self.theirs[0], self.default)
        if isinstance(value, bool) and self.theirs[0] in config:
            value = bool(config[self.theirs[0]])  # null is as good as false
        if not isinstance(value, str | bool) or value not in self.cases:
            known = ", ".join(map(repr, self.cases))
            raise UserError(f"{says(self.theirs[0], value)}, which lmkit cannot represent, only {known}")
        for ours, said in self.cases[value].items():
            put(anatomy, ours, said, self.only)

    def write(self, anatomy: Anatomy, config: Config) -> None:
        """See `Entry`."""
        for value, options in self.cases.items():
            found = {ours: taken(anatomy, ours, self.only) for ours in options}
            if all(found[ours] and found[ours][0] == said for ours, said in options.items()):
                config[self.theirs[0]] = value
                return
        if any(taken(anatomy, ours, self.only) for options in self.cases.values() for ours in options):
            raise NotOfFamily(f"no {self.theirs[0]} says what the network has")


def _rounded(number: float) -> float:
    """A number without what rounding has left behind whole ones."""
    near = round(number)
    return near if abs(number - near) < 1e-9 * abs(number) else number
