"""The kind `RowFormat`: how the values of a row are read as a conversation, a preference, or what else they mean."""

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from lmkit.errors import UserError


class RowFormat(ABC):
    """Reads a row. A class declares the keys that it reads, by which the format of a source is found.

    Attributes:
        gives: what it makes of a row: `Conversation`, `Preference`, `Judged` or `Labelled`.
        keys: what a row must have.
        optional: what it reads besides, where a row has it.
        aliases: other names of keys, for rows that do not have the key itself.
        inner: keys of the first message in the list under `keys[0]`, which tell this format from others of that key.
        row: one that it reads, as an example.
    """

    gives: ClassVar[type]
    keys: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ()
    aliases: ClassVar[dict[str, str]] = {}
    inner: ClassVar[tuple[str, ...]] = ()
    row: ClassVar[dict[str, Any]]

    @abstractmethod
    def read(self, values: dict[str, Any]) -> Any:
        """What the values of a row that has all keys mean: one of `gives`. It leaves the values as they are.

        Raises:
            UserError: they are not what they should be.
        """

    def __call__(self, values: dict[str, Any]) -> Any:
        """As `read`, of any row.

        Raises:
            UserError: the row lacks a key, or its values are not what they should be.
        """
        named = self.named(values) if self.aliases else values
        if missing := [key for key in self.keys if key not in named]:
            came = f"but {', '.join(values)}" if values else "and no other key"
            raise UserError(
                f"it has no {' and no '.join(missing)}, {came}: {type(self).__name__} needs all of its keys"
            )
        return self.read(named)

    @classmethod
    def named(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The values with aliases put in the place of keys that are missing."""
        there = {own: key for own, key in cls.aliases.items() if own in values and key not in values}
        return {there.get(key, key): value for key, value in values.items()} if there else values

    @classmethod
    def fits(cls, values: dict[str, Any]) -> bool:
        """Whether a row has the keys of this format."""
        named = cls.named(values)
        if not all(key in named for key in cls.keys):
            return False
        held = named[cls.keys[0]]
        first = held[0] if isinstance(held, list) and held else None
        return not isinstance(first, dict) or all(key in first for key in cls.inner)

    @classmethod
    def told(cls) -> str:
        """The class and its keys, as errors name them."""
        inner = f" with {' and '.join(cls.inner)}" if cls.inner else ""
        return f"{cls.__name__} ({', '.join(cls.keys)}{inner})"

    def example(self) -> str:
        """The example and what it is read as."""
        found = self(self.row)
        fields = "\n".join(f"  {name}: {_shown(value)}" for name, value in zip(found._fields, found, strict=True))
        return f"{_shown(self.row)}\n\nis read as a {type(found).__name__}:\n{fields}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
