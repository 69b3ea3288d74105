"""Filters that break the contract, each in one way."""

from lmkit.data.corpus import Filter, Length, Rejected


class Words(Filter):
    """Is sound: rejects long documents; the others are made of it.

    Args:
        most: words that stay.
    """

    def __init__(self, most: int = 30) -> None:
        self.most = most

    def __call__(self, document):
        return Rejected(f"more than {self.most} words") if len(document.text.split()) > self.most else document


class BrokenReason(Words):
    """Gives an empty reason."""

    def __call__(self, document):
        return Rejected("") if isinstance(super().__call__(document), Rejected) else document


class BrokenAnswer(Words):
    """Says yes or no."""

    def __call__(self, document):
        return not isinstance(super().__call__(document), Rejected)


class BrokenDivision(Words):
    """Divides by the number of words."""

    def __call__(self, document):
        return document if len(document.text) / len(document.text.split()) < 20 else Rejected("long words")


class BrokenSeen(Words):
    """Rejects what it has seen.

    Args:
        most: words that stay.
    """

    def __init__(self, most: int = 30) -> None:
        super().__init__(most)
        self.seen = set()

    def __call__(self, document):
        if document.text in self.seen:
            return Rejected("seen before")
        self.seen.add(document.text)
        return document


class BrokenFigures(Words):
    """Tells the document's own figure."""

    def __call__(self, document):
        words = len(document.text.split())
        return Rejected(f"{words} words") if words > self.most else document


class BrokenFilterOption(Filter):
    """Keeps its option under another name.

    Args:
        least: bytes that a document needs.
    """

    def __init__(self, least: int = 2) -> None:
        self.limit = least

    def __call__(self, document):
        return document


class BrokenFilterKey(Length):
    """Turns its option before it keeps it.

    Args:
        min_bytes: fewest bytes.
    """

    def __init__(self, min_bytes: int = 9) -> None:
        super().__init__(min_bytes // 8 * 8)


class BrokenUnpickled(Words):
    """Keeps a function that has no name.

    Args:
        most: words that stay.
    """

    def __init__(self, most: int = 30) -> None:
        super().__init__(most)
        self.count = lambda text: len(text.split())
