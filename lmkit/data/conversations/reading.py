"""Reads a source of rows as conversations, or what else is asked for, and counts the rows that are none."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from lmkit.data.conversations.faults import Faults
from lmkit.data.conversations.finding import Kinds, check_format, find_format, rename
from lmkit.data.conversations.kinds import RowFormat
from lmkit.data.conversations.turns import ROLES, check_turns
from lmkit.data.conversations.values import Conversation, Judged, Labelled, Preference
from lmkit.data.rows.kinds import Row, RowSource
from lmkit.errors import UserError

LOOKED = 100
"""Rows that may have the keys of no format before one has: a few odd ones end no run, no large file is read in vain."""

T = TypeVar("T", Conversation, Preference, Judged, Labelled)


def read(
    source: RowSource,
    format: RowFormat | None,
    columns: Mapping[str, str] | None,
    faults: Faults,
    kind: type[T] | tuple[type[T], ...],
    roles: Sequence[str] = ROLES,
) -> Iterator[tuple[Row, T]]:
    """Yields each row with what it means; rows that are broken, do not fit the format or break a rule are faults.

    Args:
        source: where the rows come from.
        format: how they are read; none finds that out by the keys of the first row that has those of one.
        columns: own names of keys, each with the format's: {"question": "prompt"}.
        faults: counts the rows that are left out, or raises at the first.
        kind: what is needed: `Conversation`, `Preference`, `Judged`, `Labelled`, or any of several.
        roles: who may speak, as the chat template says.

    Raises:
        UserError: no format has the keys of the first rows, no row has one of the columns, or no row is left.
    """
    names: dict[str, str] = dict(columns or {})
    unseen, kept = {*names}, 0
    check_format(format, names, kind)
    rows = source.rows()
    if format is None:
        format, rows = _found(rows, names, faults, kind)
    for row in rows:
        found = None
        values = rename(row.values, names) if names else row.values
        with faults.row(row):
            found = _meant(row, values, format, roles)
        if unseen:
            unseen.difference_update(row.values)
        if found is not None:
            kept += 1
            yield row, found
    faults.check_left(kept, source)
    if unseen:
        raise UserError(f"columns has {', '.join(sorted(unseen))}, but no row does: give names that the rows have")


def _meant(row: Row, values: dict[str, Any], format: RowFormat | None, roles: Sequence[str]) -> Any:
    """What a row means.

    Raises:
        UserError: it means nothing that can be learned from.
    """
    if row.fault is not None or format is None:
        raise UserError(row.fault or "it has no format")
    found = format(values)
    check_turns(found, roles)
    return found


def _found(
    rows: Iterator[Row], names: dict[str, str], faults: Faults, kind: Kinds
) -> tuple[RowFormat | None, Iterator[Row]]:
    """The format by the first row that has the keys of one, and all rows; none where all rows are broken.

    Raises:
        UserError: no row has, which is nothing to count: all would be left out.
    """
    ahead, odd = list[Row](), list[UserError]()
    for row in rows:
        ahead.append(row)
        if row.fault is not None:
            continue
        try:
            return find_format(rename(row.values, names), kind), chain(ahead, rows)
        except UserError as error:
            odd.append(UserError(f"{row.where}: {error}"))
        if len(odd) == LOOKED:
            break
    if not odd:
        return None, iter(ahead)
    for row in ahead:
        if row.fault is not None:
            faults.add(row.where, row.fault)
    raise odd[0]
