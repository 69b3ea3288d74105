"""Length: documents that are too short to learn from, or too long to be one text.

A bound on length is part of nearly all published pipelines (Gopher, arXiv:2112.11446, keeps 50 to 100,000 words). In
bytes it means the same in every script, those without spaces between words too.
"""

from lmkit.data.corpus.document import Document
from lmkit.data.corpus.kinds import Filter, Rejected
from lmkit.errors import UserError


class Length(Filter):
    """Keeps documents of a length within bounds.

    Args:
        min_bytes: fewest bytes of the text in UTF-8 that stay.
        max_bytes: most bytes that stay; none for no bound.
    """

    def __init__(self, min_bytes: int, max_bytes: int | None = None) -> None:
        if min_bytes < 0 or (max_bytes is not None and max_bytes < max(min_bytes, 1)):
            raise UserError(
                f"min_bytes is {min_bytes} and max_bytes {max_bytes}: give 0 or more, and a max_bytes that is not less"
            )
        self.min_bytes, self.max_bytes = min_bytes, max_bytes

    def __call__(self, document: Document) -> Document | Rejected:
        """The document as it is, unless it is too short or too long."""
        size = len(document.text.encode())
        if size < self.min_bytes:
            return Rejected(f"less than {self.min_bytes} bytes")
        if self.max_bytes is not None and size > self.max_bytes:
            return Rejected(f"more than {self.max_bytes} bytes")
        return document
