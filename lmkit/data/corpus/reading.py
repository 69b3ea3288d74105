"""Reads a source through the filters that a recipe lists, and counts what each of them has kept and removed."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lmkit.data.corpus.document import Document, InvalidText
from lmkit.data.corpus.kinds import Filter, Rejected, Source
from lmkit.errors import UserError

MOST_REASONS = 100
"""Reasons of a filter that are counted apart; more would be figures of single documents."""

OTHER = "other reasons"
NOTHING_LEFT = "no text is left"
_TOLD = 4  # the most frequent reasons that are printed


@dataclass
class Amount:
    """A number of documents, and of bytes of their text in UTF-8."""

    documents: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Adds a document of `size` bytes."""
        self.documents += 1
        self.bytes += size


@dataclass
class Tally:
    """What a filter was given, what it has kept, how many documents of that it has changed, what it removed and why."""

    name: str
    given: Amount = field(default_factory=Amount)
    kept: Amount = field(default_factory=Amount)
    changed: int = 0
    removed: dict[str, Amount] = field(default_factory=dict)

    def reject(self, reason: str, size: int) -> None:
        """Counts a document of `size` bytes that does not stay."""
        if reason not in self.removed and len(self.removed) >= MOST_REASONS:
            reason = OTHER
        self.removed.setdefault(reason, Amount()).add(size)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Tally":
        """What `plain` gave."""
        removed = {reason: Amount(**amount) for reason, amount in plain["removed"].items()}
        given, kept = Amount(**plain["given"]), Amount(**plain["kept"])
        return cls(plain["name"], given, kept, plain["changed"], removed)

    def __str__(self) -> str:
        lost = sum(amount.bytes for amount in self.removed.values())
        text = (
            f"{self.name} removed {self.given.documents - self.kept.documents} of {self.given.documents} documents"
            f" ({lost / 1e6:.2f} of {self.given.bytes / 1e6:.2f} MB)"
        )
        most = sorted(self.removed.items(), key=lambda item: (-item[1].documents, item[0]))
        reasons = [f"{amount.documents} for {reason}" for reason, amount in most[:_TOLD]]
        if rest := sum(amount.documents for _, amount in most[_TOLD:]):
            reasons.append(f"{rest} for less frequent reasons")
        text += f": {', '.join(reasons)}" if reasons else ""
        return f"{text}; changed {self.changed}" if self.changed else text


def tallies_of(filters: Sequence[Filter]) -> list[Tally]:
    """A tally for each filter, in their order."""
    return [Tally(type(filter).__name__) for filter in filters]


def read(
    source: Source,
    filters: Sequence[Filter] = (),
    invalid: InvalidText | None = None,
    tallies: Sequence[Tally] | None = None,
) -> Iterator[Document]:
    """Yields the documents of `source` that are not empty and that every filter keeps, as the filters leave them.

    Args:
        source: what to read; only one document of it is held.
        filters: each is given what the one before it has kept.
        invalid: counts what is not UTF-8, while the documents are read.
        tallies: counts what each filter does, one for each.

    Raises:
        UserError: nothing is there to read, every text is empty, a file is damaged, or no document stays.
    """
    tallies = tallies_of(filters) if tallies is None else tallies
    steps = list(zip(filters, tallies, strict=True))
    empty, none_stays = True, True
    for document in source.documents(InvalidText() if invalid is None else invalid):
        if not document.text:
            continue
        empty = False
        kept = _filtered(document, steps) if steps else document
        if kept is not None:
            none_stays = False
            yield kept
    if empty:
        raise UserError(f'every text of the source "{source}" is empty; give one with text')
    if none_stays:
        told = "; ".join(str(tally) for tally in tallies if tally.removed)
        raise UserError(f'the filters leave no document of the source "{source}": {told}; change their options')


def _filtered(document: Document, steps: Sequence[tuple[Filter, Tally]]) -> Document | None:
    """The document as the filters leave it; none if one of them rejects it."""
    size = len(document.text.encode())
    for keep, tally in steps:
        tally.given.add(size)
        found = keep(document)
        if isinstance(found, Rejected) or not found.text:
            tally.reject(found.reason if isinstance(found, Rejected) else NOTHING_LEFT, size)
            return None
        if found.text != document.text:
            tally.changed += 1
            size = len(found.text.encode())
        tally.kept.add(size)
        document = found
    return document
