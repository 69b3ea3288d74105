"""Best-fit packing: texts of any lengths into rows of one length, none cut (Ding et al. 2024, arXiv:2404.10830)."""

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from lmkit.errors import UserError


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Which items go into which row: the longest first, each into the fullest row that still has room for it.

    Takes n log(capacity) steps for n items; the same lengths give the same rows.

    Args:
        lengths: of the items, from 0 to `capacity`.
        capacity: the length of a row.

    Returns:
        The numbers of the items of each row.

    Raises:
        UserError: an item is longer than a row.
    """
    rows: list[list[int]] = []
    room: dict[int, list[int]] = {}  # the rows that have so much left
    left: list[int] = []  # its keys, in order
    for item in np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist():
        length = int(lengths[item])
        if length > capacity:
            raise UserError(f"a text of {length} tokens does not fit into a row of {capacity}: give longer rows")
        place = bisect_left(left, length)
        if place == len(left):
            row, rest = len(rows), capacity - length
            rows.append([])
        else:
            row = room[left[place]].pop()
            rest = left[place] - length
            if not room[left[place]]:
                del room[left.pop(place)]
        rows[row].append(item)
        if rest not in room:
            room[rest] = []
            insort(left, rest)
        room[rest].append(row)
    return rows
