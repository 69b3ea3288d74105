"""Texts as tokens that keep to borders: each beginning, up to a border, is encoded as it would be by itself.

A prompt ends where its answer begins, so that what is trained has to go on from the very tokens that a prompt ends
with. Where the tokens of the whole text do not (one lies across the border, or what follows has changed how white space
before it is split), the text is cut there; where they do, they are left as they are.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from lmkit.errors import UserError


class Tokens(NamedTuple):
    """A text as tokens.

    Attributes:
        ids: int64 (T,).
        spans: where each begins and ends in the text, in characters, its white space included (T, 2).
    """

    ids: NDArray[np.int64]
    spans: NDArray[np.int64]


class BorderedTokenizer:
    """Encodes texts that have borders.

    Args:
        tokenizer: is not changed.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder().items()
        self._special = [number for number, token in added if token.special]

    def encode(self, texts: Sequence[tuple[str, Sequence[int]]]) -> list[Tokens]:
        """Each text, given with its borders in ascending order, as tokens.

        Raises:
            UserError: a text has to be cut, and the tokenizer would put something before the rest.
        """
        wholes = [*map(_tokens, self._exact.encode_batch([text for text, _ in texts], add_special_tokens=False))]
        borders = [(number, border) for number, (_, borders) in enumerate(texts) for border in borders]
        before = [self._before(wholes[number], border) for number, border in borders]
        asked = [texts[number][0][start:border] for (number, border), (start, _) in zip(borders, before, strict=True)]
        alone = self._exact.encode_batch(asked, add_special_tokens=False)
        cut = {
            number
            for (number, _), (_, ids), other in zip(borders, before, alone, strict=True)
            if ids.tolist() != other.ids
        }
        return [self._cut(*texts[n], whole) if n in cut else whole for n, whole in enumerate(wholes)]

    def _before(self, whole: Tokens, border: int) -> tuple[int, NDArray[np.int64]]:
        """Where the last special token before a border begins, and the ids from there to the border.

        What stands on one side of a special token is encoded without a look at the other.
        """
        starts, ends = whole.spans.T
        last = int((starts < border).sum())
        special = np.flatnonzero(np.isin(whole.ids[:last], self._special) & (ends[:last] <= border))
        first = int(special[-1]) if len(special) else 0
        return (int(starts[first]) if len(special) else 0), whole.ids[first:last]

    def _cut(self, text: str, borders: Sequence[int], whole: Tokens) -> Tokens:
        """A text that is cut at each border where the tokens before it are not those that they are without the rest."""
        special = [*whole.spans[np.isin(whole.ids, self._special), 0].tolist(), len(text)]
        start, kept, last = 0, [], self._piece(text, 0, borders[0], special)
        for border, end in pairwise([*borders, len(text)]):
            longer = self._piece(text, start, end, special)
            if longer.ids[: len(last.ids)].tolist() == last.ids.tolist():
                last = longer
            else:
                kept.append(last)
                start, last = border, self._piece(text, border, end, special)
        parts = [*kept, last]
        return Tokens(np.concatenate([part.ids for part in parts]), np.concatenate([part.spans for part in parts]))

    def _piece(self, text: str, start: int, end: int, special: Sequence[int]) -> Tokens:
        """A text's tokens between two places; in its midst, nothing is put before the first word."""
        bare = min(end, next(place for place in special if place >= start)) if start else 0
        parts = [(self._bare, start, bare)] if start else []
        found = []
        for tokenizer, first, last in [*parts, (self._exact, bare, end)]:
            ids, spans = _tokens(tokenizer.encode(text[first:last], add_special_tokens=False))
            found.append((ids, spans + first))
        return Tokens(*(np.concatenate(part) for part in zip(*found, strict=True)))

    @cached_property
    def _exact(self) -> Tokenizer:
        """The tokenizer, with places that include a token's white space."""
        text = self._tokenizer.to_str()
        if '"trim_offsets"' not in text:
            return self._tokenizer
        return _changed(text, {"trim_offsets": False})

    @cached_property
    def _bare(self) -> Tokenizer:
        """The tokenizer without what it puts before a text.

        Raises:
            UserError: it still puts something there.
        """
        never = {"trim_offsets": False, "add_prefix_space": False, "prepend_scheme": "never"}
        made = _changed(self._tokenizer.to_str(), never)
        found = made.normalizer.normalize_str("a") if made.normalizer else "a"
        if made.pre_tokenizer:
            found = "".join(word for word, _ in made.pre_tokenizer.pre_tokenize_str(found))
        if found not in ("a", "A"):
            raise UserError(
                f"the tokenizer writes {found!r} for 'a', and a token lies across the border of a prompt and its "
                "answer, where the text has to be cut: choose a template that ends prompts by a special token, or "
                "another tokenizer"
            )
        return made


def _changed(text: str, options: dict[str, Any]) -> Tokenizer:
    """A tokenizer of JSON whose parts have other options, where they have such."""
    data = json.loads(text)
    for name in ("normalizer", "pre_tokenizer", "post_processor"):
        data[name] = _with(data[name], options)
    return Tokenizer.from_str(json.dumps(data))


def _with(part: Any, options: dict[str, Any]) -> Any:
    """A part of a tokenizer, and those that it is made of; none where it does nothing but what is to go."""
    if not isinstance(part, dict):
        return part
    if part.get("type") == "Prepend" and "prepend_scheme" in options:
        return None
    changed = {key: options.get(key, value) for key, value in part.items()}
    for key in {"normalizers", "pretokenizers", "processors"} & {*changed}:
        parts = [_with(each, options) for each in part[key]]
        changed[key] = [each for each in parts if each is not None]
    return changed


def _tokens(encoding: Encoding) -> Tokens:
    return Tokens(np.array(encoding.ids, np.int64), np.array(encoding.offsets, np.int64).reshape(-1, 2))
