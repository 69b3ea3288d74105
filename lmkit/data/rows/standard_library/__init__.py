"""Questions and answers made of the documentation of Python's standard library, so that nothing is downloaded."""

from lmkit.data.rows.standard_library.chats import StandardLibraryChats
from lmkit.data.rows.standard_library.judged import StandardLibraryJudged
from lmkit.data.rows.standard_library.labels import StandardLibraryLabels
from lmkit.data.rows.standard_library.pairs import StandardLibraryPairs

__all__ = ["StandardLibraryChats", "StandardLibraryJudged", "StandardLibraryLabels", "StandardLibraryPairs"]
