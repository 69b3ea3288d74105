"""How errors show what stands in a file of unknown origin: in a short line that steers no terminal."""

from typing import Any

MOST = 100
"""Characters of a value or a name."""


def brief(value: Any) -> str:
    """A value as Python would write it, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= MOST else f"{text[: MOST - 20]} ... {text[-15:]}"


def plain(name: str) -> str:
    """A name as it stands, or as Python would write it if it is long or more than plain letters."""
    return name if name.isprintable() and len(name) <= MOST else brief(name)


def says(key: str, value: Any) -> str:
    """What a config says, as an error begins."""
    return f"config.json says {plain(key)}: {brief(value)}"
