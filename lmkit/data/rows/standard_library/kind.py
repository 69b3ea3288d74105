"""What the row sources out of the standard library have in common."""

import sys

from lmkit.data.corpus.kinds import Item
from lmkit.data.corpus.sources import StandardLibrary
from lmkit.data.rows.kinds import RowSource
from lmkit.errors import UserError

MIN_CHARACTERS = 100  # within which the first sentence of nearly every docstring is whole


class OfStandardLibrary(RowSource):
    """Rows made of the documentation of the Python that runs, which are the same for each run of it.

    Rows are grouped by the document of the corpus `StandardLibrary` that they are made of: what is held out here at a
    fraction is held out there, so that a network that was pretrained on that corpus has not read it either.
    """

    def listing(self) -> list[Item]:
        """As that of the corpus: Python's version, then the size of each module's source."""
        return StandardLibrary().listing()

    def __str__(self) -> str:
        return f"{type(self).__name__} of Python {sys.version.split()[0]}"


def checked(characters: int, option: str) -> int:
    """How long a text may be, looked through.

    Args:
        characters: at most; a single sentence may be longer.
        option: what to call the number.

    Raises:
        UserError: hardly any text is that short.
    """
    if characters < MIN_CHARACTERS:
        raise UserError(f"{option} is {characters}; give a number of characters, {MIN_CHARACTERS} or more")
    return characters
