"""What a class makes of the example of its kind, for the kinds whose base class has a method `example`."""

from lmkit.callbacks.report import printable
from lmkit.cli.plugins.snippet import required
from lmkit.kinds import KINDS


def example(cls: type, kind: str) -> str | None:
    """The example as text; none where the kind has none, or where the class needs options that only its user knows."""
    if not hasattr(KINDS[kind].base, "example") or required(cls, len(KINDS[kind].given)):
        return None
    return printable(cls().example())
