"""Raw text as a stream of documents: sources, the filters that they go through, and what both are made of."""

from lmkit.data.corpus.document import Document, InvalidText
from lmkit.data.corpus.kinds import Filter, Item, Rejected, Source
from lmkit.data.corpus.length import Length
from lmkit.data.corpus.repetition import Repetition
from lmkit.data.corpus.sources import Files, StandardLibrary

__all__ = [
    "Document",
    "Files",
    "Filter",
    "InvalidText",
    "Item",
    "Length",
    "Rejected",
    "Repetition",
    "Source",
    "StandardLibrary",
]
