"""A document, and bytes decoded into one with every broken byte sequence counted instead of fatal."""

import re
from dataclasses import dataclass
from typing import NamedTuple

_REPLACEMENT = "\ufffd"
_SURROGATES = re.compile("[\ud800-\udfff]")


class Document(NamedTuple):
    """One text that is kept whole by the split; `name` says where it came from."""

    name: str
    text: str


@dataclass
class InvalidText:
    """How much of what was read was not UTF-8: documents with a fault, and byte sequences replaced by U+FFFD."""

    documents: int = 0
    sequences: int = 0

    def decode(self, data: bytes) -> str:
        """UTF-8 to text, a U+FFFD for each invalid sequence; a byte-order mark and all newlines stay as they are."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            text = data.decode(errors="replace")
            # A U+FFFD that the author wrote is not a fault: its first byte can only start a character.
            self._count(text.count(_REPLACEMENT) - data.count(_REPLACEMENT.encode()))
            return text

    def without_surrogates(self, text: str) -> str:
        r"""Replaces half characters, which a JSON escape such as "\ud800" may make and no UTF-8 text can hold."""
        if text.isascii():
            return text
        text, replaced = _SURROGATES.subn(_REPLACEMENT, text)
        if replaced:
            self._count(replaced)
        return text

    def _count(self, sequences: int) -> None:
        self.documents += 1
        self.sequences += sequences
