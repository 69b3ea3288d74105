"""Rows that cannot be used: the first of them ends the run, or they are left out and counted, and told at the end."""

import re
from dataclasses import dataclass, field
from types import TracebackType

from lmkit.data.rows.kinds import Row
from lmkit.errors import UserError

MOST_REASONS = 100
"""Reasons that are counted apart; more would be figures of single rows."""

OTHER = "other reasons"
_TOLD = 10  # reasons, the most frequent first

_CUT = re.compile(r"(?<!\w)['\"\[{].*?\.\.\.")  # a value that was cut where it is long
_QUOTED = re.compile(r"(?<!\w)(['\"])(?:\\.|(?!\1).)*\1(?!\w)")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d_,.]*(?!\w)")


@dataclass
class Fault:
    """How many rows have been left out for one reason, the first of them, and what was said of that."""

    rows: int
    where: str
    said: str

    def __str__(self) -> str:
        first = f"{self.where}: {self.said}"
        return f"1 row left out, {first}" if self.rows == 1 else f"{self.rows} rows left out, first {first}"


@dataclass
class Faults:
    """The rows that were left out, by reason.

    Attributes:
        strict: whether the first one is an error.
        found: by reason, as `reason_of` gives it.
    """

    strict: bool = False
    found: dict[str, Fault] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many were left out."""
        return sum(fault.rows for fault in self.found.values())

    def row(self, row: Row) -> "_Guard":
        """A context in which a `UserError` leaves out this row, and ends no more than the context.

        Raises:
            UserError: it was raised and this is strict; it then names the row.
        """
        return _Guard(self, row)

    def add(self, where: str, said: str) -> None:
        """Counts a row that is left out.

        Raises:
            UserError: this is strict.
        """
        said = " ".join(said.split())
        if self.strict:
            raise UserError(f"{where}: {said}")
        reason = reason_of(said)
        if reason not in self.found and len(self.found) >= MOST_REASONS:
            reason = OTHER
        fault = self.found.setdefault(reason, Fault(0, where, said))
        fault.rows += 1

    def lines(self) -> list[str]:
        """What is told at the end, the most frequent reason first: how many rows, the first of them, and why."""
        order = sorted(self.found.values(), key=lambda fault: -fault.rows)
        told = [str(fault) for fault in order[:_TOLD]]
        if rest := sum(fault.rows for fault in order[_TOLD:]):
            told.append(f"{rest} rows left out for {len(order) - _TOLD} reasons that are less frequent")
        if len(order) > 1:
            told.append(f"{self.rows} rows left out in all (data.strict stops at the first)")
        return told

    def check_left(self, kept: int, source: object) -> None:
        """Looks whether rows are left.

        Args:
            kept: how many there are.
            source: where they come from, for the error.

        Raises:
            UserError: there are none.
        """
        if kept:
            return
        if not self.found:
            raise UserError(f"{source} has no rows: give a source with some")
        raise UserError(f"no row of {source} is left: {'; '.join(self.lines()[:3])}")


def reason_of(said: str) -> str:
    """What was said without the row's own figures: no numbers, and nothing that is quoted."""
    return _NUMBER.sub("N", _QUOTED.sub("'…'", _CUT.sub("'…'", said)))


class _Guard:
    __slots__ = ("faults", "row")

    def __init__(self, faults: Faults, row: Row) -> None:
        self.faults, self.row = faults, row

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, UserError):
            return False
        self.faults.add(self.row.where, str(error))
        return True
