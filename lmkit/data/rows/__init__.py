"""Rows, out of which conversations and preferences are read: their sources, and what both are made of."""

from lmkit.data.rows.files import RowFiles
from lmkit.data.rows.hub import HubRows
from lmkit.data.rows.kinds import Row, RowSource
from lmkit.data.rows.named import row_source_of
from lmkit.data.rows.standard_library import (
    StandardLibraryChats,
    StandardLibraryJudged,
    StandardLibraryLabels,
    StandardLibraryPairs,
)

__all__ = [
    "HubRows",
    "Row",
    "RowFiles",
    "RowSource",
    "StandardLibraryChats",
    "StandardLibraryJudged",
    "StandardLibraryLabels",
    "StandardLibraryPairs",
    "row_source_of",
]
