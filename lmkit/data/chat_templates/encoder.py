"""Conversations as token ids: a chat template together with a tokenizer that knows its tokens."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lmkit.data.chat_templates.conversation import check_spelling
from lmkit.data.chat_templates.dialect import Marked
from lmkit.data.chat_templates.kept import kept, plain
from lmkit.data.chat_templates.kind import ChatTemplate
from lmkit.errors import UserError

Messages = Sequence[Mapping[str, Any]]
TrainOn = Literal["assistant", "last", "all"]


class Encoded(NamedTuple):
    """A conversation as tokens.

    Attributes:
        ids: int64 (T,).
        trained: which of them are learned (T,).
    """

    ids: NDArray[np.int64]
    trained: NDArray[np.bool_]


class ChatEncoder:
    """Writes conversations as transformers' `apply_chat_template` does, and tells which tokens are learned.

    Args:
        template: writes a conversation.
        tokenizer: is copied; special tokens of the template that it lacks are added behind its own.
        end_of_document: the id of the token that ends a document.
        bos: what the template is given as `bos_token`; none for none.
        eos: what it is given as `eos_token`; none for the end of a document.

    Attributes:
        tokenizer: with the template's tokens; it takes what spells a special token for that token.
        stops: the ids by which an answer ends: the end of the turn and the end of a document.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: Tokenizer,
        end_of_document: int,
        bos: str | None = None,
        eos: str | None = None,
    ) -> None:
        self.template, self.end_of_document = template, end_of_document
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())  # which forgets `encode_special_tokens`
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.bos, self.eos = bos, eos or tokenizer.id_to_token(end_of_document)
        added = self.tokenizer.get_added_tokens_decoder().values()
        special = [token.content for token in added if token.special]
        needed = [*template.special_tokens, template.end_of_turn or self.eos]
        self.tokenizer.add_special_tokens([token for token in dict.fromkeys(needed) if token not in special])
        self._special = [*dict.fromkeys([*special, *needed])]
        turn = self.tokenizer.token_to_id(template.end_of_turn or self.eos)
        self.stops: tuple[int, ...] = tuple(dict.fromkeys([turn, end_of_document]))

    @property
    def end_of_turn(self) -> str:
        """The token by which the assistant ends."""
        return self.template.end_of_turn or self.eos

    def prompt(self, messages: Messages, tools: Messages | None = None) -> list[int]:
        """The ids (T) of a conversation that the assistant is to go on with.

        Raises:
            UserError: it is no conversation that the template can write.
        """
        check_spelling(messages, tools, self._special)
        text = self.template.render(messages, tools, True, self.bos, self.eos)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def mark(self, messages: Messages, tools: Messages | None = None) -> Marked:
        """A conversation as text, and what of that the assistant says.

        Raises:
            UserError: it is no conversation that the template can write, or it spells a special token.
        """
        check_spelling(messages, tools, self._special)
        return self.template.mark(messages, tools, False, self.bos, self.eos)

    def text(self, text: str) -> Marked:
        """A text as it stands, which is no conversation.

        Raises:
            UserError: it spells a special token.
        """
        if spelt := [token for token in self._special if token in text]:
            raise UserError(
                f"the text spells {spelt[0]}, which the tokenizer would take for the token: take it out, or leave the "
                "row out"
            )
        return Marked(text, ())

    def encode(self, marked: Sequence[Marked], train_on: TrainOn = "assistant") -> list[Encoded]:
        """Marked conversations as tokens, those of transformers, except where one would lie across the border of a
        prompt and its answer: there the text is cut, as it is when an answer is generated.

        Args:
            marked: texts of conversations, with the spans to learn.
            train_on: the assistant's turns, the last of them, or all tokens.
        """
        encodings = self.tokenizer.encode_batch([text for text, _ in marked], add_special_tokens=False)
        found = []
        for (text, spans), encoding in zip(marked, encodings, strict=True):
            ids, offsets = np.array(encoding.ids, np.int64), np.array(encoding.offsets, np.int64).reshape(-1, 2)
            if _across(offsets, spans):
                ids, offsets = self._cut(text, spans)
            found.append(Encoded(ids, _trained(offsets[:, 0], spans, train_on)))
        return found

    def _cut(self, text: str, spans: Sequence[tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and offsets of a text that is cut where a span begins."""
        borders = [0, *(start for start, _ in spans), len(text)]
        pieces = [(start, text[start:end]) for start, end in pairwise(borders)]
        encodings = self.tokenizer.encode_batch([piece for _, piece in pieces], add_special_tokens=False)
        offsets = [
            np.array(encoding.offsets, np.int64).reshape(-1, 2) + start
            for encoding, (start, _) in zip(encodings, pieces, strict=True)
        ]
        return np.concatenate([np.array(encoding.ids, np.int64) for encoding in encodings]), np.concatenate(offsets)

    def plain(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that `of` makes the same with the tokenizer's text and the end of a document."""
        return {"template": plain(self.template), "bos": self.bos, "eos": self.eos}

    @classmethod
    def of(cls, data: Mapping[str, Any], tokenizer: Tokenizer, end_of_document: int) -> "ChatEncoder":
        """Of what was kept by `plain`.

        Raises:
            UserError: the template does not compile.
        """
        return cls(kept(data["template"]), tokenizer, end_of_document, data["bos"], data["eos"])


def _across(offsets: NDArray[np.int64], spans: Sequence[tuple[int, int]]) -> bool:
    """Whether a token begins before a span and ends within it."""
    starts, ends = offsets[:, 0], offsets[:, 1]
    return any(bool(((starts < start) & (ends > start)).any()) for start, _ in spans)


def _trained(starts: NDArray[np.int64], spans: Sequence[tuple[int, int]], train_on: TrainOn) -> NDArray[np.bool_]:
    """Which tokens are learned: those that begin within what the assistant says."""
    if train_on == "all":
        return np.ones(len(starts), np.bool_)
    trained = np.zeros(len(starts), np.bool_)
    for first, last in spans[-1:] if train_on == "last" else spans:
        trained |= (starts >= first) & (starts < last)
    return trained
