"""How errors show what stands in data."""

from typing import Any


def short(value: Any) -> str:
    """A value as Python writes it, cut where it is long."""
    told = repr(value if not isinstance(value, str) else value[:80])
    return told if len(told) <= 60 else f"{told[:57]}..."
