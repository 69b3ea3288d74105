"""Best-fit packing: whole items, none lost, and as full as an obvious search makes the rows."""

import random

import pytest

from lmkit.data.examples.best_fit import best_fit
from lmkit.errors import UserError


def obvious(lengths, capacity):
    """The same rule by looking at every row."""
    rows, room = [], []
    for item in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        fitting = [row for row in range(len(rows)) if room[row] >= lengths[item]]
        row = min(fitting, key=lambda row: room[row], default=None)
        if row is None:
            rows.append([])
            room.append(capacity)
            row = len(rows) - 1
        rows[row].append(item)
        room[row] -= lengths[item]
    return sorted(room)


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_as_full_as_by_an_obvious_search(seed):
    draw = random.Random(seed)
    lengths = [draw.randint(0, 64) for _ in range(300)]
    rows = best_fit(lengths, 64)
    assert sorted(item for row in rows for item in row) == list(range(300))
    assert sorted(64 - sum(lengths[item] for item in row) for row in rows) == obvious(lengths, 64)


def test_no_item_is_cut():
    assert best_fit([], 8) == []
    assert best_fit([8, 8], 8) == [[0], [1]]
    with pytest.raises(UserError, match="9 tokens does not fit into a row of 8"):
        best_fit([3, 9], 8)
