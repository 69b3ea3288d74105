"""What the row sources out of the standard library have in common."""

import sys

from lmkit.data.corpus.kinds import Item
from lmkit.data.corpus.sources import StandardLibrary
from lmkit.data.rows.kinds import RowSource
from lmkit.errors import UserError

MIN_ANSWER = 100  # characters, within which the first sentence of nearly every docstring is whole


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


def checked(max_answer: int) -> int:
    """The most characters of an answer, looked through.

    Raises:
        UserError: no answer can be that short.
    """
    if max_answer < MIN_ANSWER:
        raise UserError(f"max_answer is {max_answer}; give a number of characters, {MIN_ANSWER} or more")
    return max_answer
