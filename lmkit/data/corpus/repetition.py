"""Repetition: documents that mostly repeat themselves, as menus, logs and generated pages do.

After Gopher (Rae et al., 2021, arXiv:2112.11446, section A.1.1 and table A1). What the paper leaves open is decided
here: a line, paragraph or n-gram is a duplicate where an equal one stands before it; blank lines are no lines; words
are what white space parts, and characters are counted without it; where n-grams overlap, each character is counted
once; an n-gram that occurs once is no repetition.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lmkit.data.corpus.document import Document
from lmkit.data.corpus.kinds import Filter, Rejected
from lmkit.errors import UserError

_BLANK_LINES = re.compile(r"\n\s*\n")
_FIRST_TOP, _FIRST_DUPLICATE = 2, 5  # words of the n-grams that the first number of each option is for


class Repetition(Filter):
    """Rejects documents of which too large a share is repeated; a share of 1 leaves a measure out.

    Args:
        lines: most duplicate lines, as a share of all.
        line_characters: most characters in duplicate lines, as a share of all.
        paragraphs: most duplicate paragraphs, which blank lines part, as a share of all.
        paragraph_characters: most characters in duplicate paragraphs, as a share of all.
        top_ngrams: most characters in the most frequent 2-gram, 3-gram and 4-gram of words, as shares of all.
        duplicate_ngrams: most characters in all duplicate 5-grams, 6-grams and so on to 10-grams, as shares of all.
    """

    def __init__(
        self,
        lines: float = 0.30,
        line_characters: float = 0.20,
        paragraphs: float = 0.30,
        paragraph_characters: float = 0.20,
        top_ngrams: tuple[float, float, float] = (0.20, 0.18, 0.16),
        duplicate_ngrams: tuple[float, float, float, float, float, float] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10),
    ) -> None:
        for share in (lines, line_characters, paragraphs, paragraph_characters, *top_ngrams, *duplicate_ngrams):
            if not 0 <= share <= 1:
                raise UserError(f"a share of Repetition is {share}: give one from 0 to 1, where 1 leaves a measure out")
        self.lines, self.line_characters = lines, line_characters
        self.paragraphs, self.paragraph_characters = paragraphs, paragraph_characters
        self.top_ngrams, self.duplicate_ngrams = top_ngrams, duplicate_ngrams

    def __call__(self, document: Document) -> Document | Rejected:
        """The document as it is, unless it repeats itself."""
        for reason, share, most in self._measures(document.text):
            if share > most:
                return Rejected(reason)
        return document

    def _measures(self, text: str) -> Iterator[tuple[str, float, float]]:
        """Each measure with its share and the most that it may be; what is cheap comes first."""
        number, characters = _duplicates(text.splitlines())
        yield "duplicate lines", number, self.lines
        yield "characters in duplicate lines", characters, self.line_characters
        number, characters = _duplicates(_BLANK_LINES.split(text))
        yield "duplicate paragraphs", number, self.paragraphs
        yield "characters in duplicate paragraphs", characters, self.paragraph_characters
        yield from _of_ngrams(text.split(), self.top_ngrams, self.duplicate_ngrams)


def _duplicates(parts: Iterable[str]) -> tuple[float, float]:
    """The share of the parts that are equal to an earlier one, in number and in characters."""
    seen = set[str]()
    total = repeated = characters = repeated_characters = 0
    for part in filter(None, map(str.strip, parts)):
        total += 1
        characters += len(part)
        if part in seen:
            repeated += 1
            repeated_characters += len(part)
        seen.add(part)
    return (repeated / total, repeated_characters / characters) if total else (0.0, 0.0)


def _of_ngrams(
    words: Sequence[str], top: Sequence[float], duplicate: Sequence[float]
) -> Iterator[tuple[str, float, float]]:
    """The measures of n-grams, from pairs to the longest."""
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in words], np.int64)
    lengths = np.array([len(word) for word in words], np.int64)
    grams = ids  # the number of the n-gram that begins at each word
    for n in range(2, _FIRST_DUPLICATE + len(duplicate)):
        if n > len(words):
            return
        # Numbers are below the words' count, so that a pair of them makes one of its own.
        pairs = grams[:-1] * len(words) + ids[n - 1 :]
        _, first, grams, counts = np.unique(pairs, return_index=True, return_inverse=True, return_counts=True)
        if n < _FIRST_DUPLICATE:
            share = _covered(_starts_of_top(grams, counts, lengths, n), n, lengths)
            yield f"the most frequent {n}-gram", share, top[n - _FIRST_TOP]
        else:
            share = _covered(np.delete(np.arange(len(grams)), first), n, lengths)
            yield f"duplicate {n}-grams", share, duplicate[n - _FIRST_DUPLICATE]


def _starts_of_top(
    grams: NDArray[np.int64], counts: NDArray[np.int64], lengths: NDArray[np.int64], n: int
) -> NDArray[np.int64]:
    """Where the most frequent n-gram begins, of several the longest; nowhere if each occurs once."""
    if counts.max() == 1:
        return np.empty(0, np.int64)
    ends = np.concatenate([[0], lengths.cumsum()])
    sizes = ends[n:] - ends[:-n]  # characters of the n-gram at each word
    often = np.flatnonzero(counts[grams] == counts.max())
    longest = often[sizes[often].argmax()]
    return np.flatnonzero(grams == grams[longest])


def _covered(starts: NDArray[np.int64], n: int, lengths: NDArray[np.int64]) -> float:
    """The share of all characters that are within n-grams that begin at these words."""
    edges = np.zeros(len(lengths) + 1, np.int64)
    edges[starts] += 1
    edges[starts + n] -= 1
    within = edges[:-1].cumsum() > 0
    return float(lengths[within].sum() / lengths.sum())
