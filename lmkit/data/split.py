"""Splits documents by their content, so that a text and its exact copy always fall on the same side."""

from collections.abc import Iterable
from hashlib import blake2b


def is_validation(document_text: str, fraction: float) -> bool:
    """Whether this text is kept for validation; the same answer on every machine, whatever else is in the corpus.

    Args:
        document_text: the whole text of one document.
        fraction: expected share of the documents kept for validation, from 0 to 1.
    """
    return held_out_above(document_text) < fraction


def held_out_above(document_text: str) -> float:
    """The fraction above which this text is kept for validation, from 0 to 1."""
    return _uniform(document_text, b"validation")


def last_held_out(texts: Iterable[str]) -> str:
    """The text that is kept for validation at the largest fraction only: where it is kept, all of these are."""
    return max(texts, key=held_out_above)


def is_sampled(document_text: str, fraction: float) -> bool:
    """Whether this text is in a sample of `fraction` of all documents, drawn independently of the split."""
    return fraction >= 1 or _uniform(document_text, b"sample") < fraction


def _uniform(text: str, purpose: bytes) -> float:
    """A number in [0, 1) drawn by the text's hash."""
    digest = blake2b(text.encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big") / 2**64
