"""Rows of post-training data, such as conversations and labelled texts, before anything is made of them."""

from lmkit.data.rows.kinds import Row, RowSource
from lmkit.data.rows.standard_library import (
    StandardLibraryChats,
    StandardLibraryJudged,
    StandardLibraryLabels,
    StandardLibraryPairs,
)

__all__ = [
    "Row",
    "RowSource",
    "StandardLibraryChats",
    "StandardLibraryJudged",
    "StandardLibraryLabels",
    "StandardLibraryPairs",
]
