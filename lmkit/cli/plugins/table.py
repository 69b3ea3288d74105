"""Lines of cells under one another, in whatever width there is."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from lmkit.callbacks.report import printable

GAP = 2
"""Columns between two cells."""


def width_of_output() -> int:
    """Columns of the terminal; far more where the output goes elsewhere, so that each row stays one line there."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return 10_000


def table(rows: Sequence[Sequence[str]], width: int, indent: int = 2) -> str:
    """Rows of equally many cells; each column but the last is as wide as its widest cell, up to a third of the width.

    Args:
        rows: the cells.
        width: columns in all.
        indent: spaces before each row.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    most = max((width - indent) // 3, 12)
    widths = [min(max(map(len, column)), most) for column in zip(*(row[:-1] for row in rows), strict=True)]
    left = width - indent - sum(size + GAP for size in widths if size)
    if left < 16:  # too narrow for columns: each cell has lines of its own
        return "\n".join(_stack(row, width, indent) for row in rows)
    return "\n".join(_line(row, [*widths, left], indent) for row in rows)


def _line(row: Sequence[str], widths: Sequence[int], indent: int) -> str:
    """One row, whose cells go on below themselves."""
    columns = [(textwrap.wrap(cell, size) or [""], size) for cell, size in zip(row, widths, strict=True) if size]
    lines = zip_longest(*(cells for cells, _ in columns), fillvalue="")
    sizes = [size for _, size in columns]
    return "\n".join(
        (" " * indent + "".join(f"{cell:{size + GAP}}" for cell, size in zip(line, sizes, strict=True))).rstrip()
        for line in lines
    )


def _stack(row: Sequence[str], width: int, indent: int) -> str:
    first, *rest = (cell for cell in row if cell)
    inner = max(width - indent - 2, 8)
    below = [" " * (indent + 2) + line for cell in rest for line in textwrap.wrap(cell, inner)]
    return "\n".join([" " * indent + first, *below])
