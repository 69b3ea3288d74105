"""Conversations as token ids: a chat template together with a tokenizer that knows its tokens."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from lmkit.data.chat_templates.borders import BorderedTokenizer
from lmkit.data.chat_templates.conversation import check_spelling
from lmkit.data.chat_templates.dialect import Marked
from lmkit.data.chat_templates.kept import kept, plain
from lmkit.data.chat_templates.kind import ChatTemplate
from lmkit.errors import UserError

Messages = Sequence[Mapping[str, Any]]


class Lesson(NamedTuple):
    """A text, and what of it is learned.

    Attributes:
        text: a conversation, or any.
        spans: start and end of what is learned, in characters, the end not included; in order, without overlap.
        borders: where the assistant begins to say something, whether it is learned or not.
        rewritten: answers that are not learned, because the template changes them as more messages come.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    borders: tuple[int, ...] = ()
    rewritten: int = 0


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
        self._bordered = BorderedTokenizer(self.tokenizer)
        turn = self.tokenizer.token_to_id(template.end_of_turn or self.eos)
        self.stops: tuple[int, ...] = tuple(dict.fromkeys([turn, end_of_document]))

    @property
    def end_of_turn(self) -> str:
        """The token by which the assistant ends."""
        return self.template.end_of_turn or self.eos

    def prompt(self, messages: Messages, tools: Messages | None = None) -> list[int]:
        """The ids (T) of a conversation that the assistant is to go on with, as `encode` gives those before an answer.

        Raises:
            UserError: it is no conversation that the template can write.
        """
        check_spelling(messages, tools, self._special)
        text = self.template.render(messages, tools, True, self.bos, self.eos)
        (tokens,) = self._bordered.encode([(text, self._borders(messages, tools, text))])
        ids: list[int] = tokens.ids.tolist()
        return ids

    def length(self, messages: Messages, tools: Messages | None = None) -> int:
        """Tokens of a conversation, without a look at where answers begin, so that it is written only once.

        Raises:
            UserError: it is no conversation that the template can write.
        """
        text = self.template.render(messages, tools, False, self.bos, self.eos)
        return len(self.tokenizer.encode(text, add_special_tokens=False))

    def mark(self, messages: Messages, tools: Messages | None = None, since: int = 0) -> Lesson:
        """A conversation as text, and what of that is learned: what the assistant says.

        Args:
            messages: of the conversation.
            tools: that the assistant may call.
            since: the number of messages at its beginning of which nothing is learned; nor is it of those that have a
                `weight` of 0, as the data of OpenAI's fine-tuning says it.

        Raises:
            UserError: it is no conversation that the template can write, it spells a special token, or what is learned
                cannot be told from what is not.
        """
        check_spelling(messages, tools, self._special)
        text, spans = self.template.mark(messages, tools, False, self.bos, self.eos)
        whole = Marked(text, spans)
        first = self._spans_of(messages[:since], tools, whole) if since else 0
        rewritten = 0
        if not self.template.tells:  # each answer that is found has one span
            rewritten = sum(message["role"] == "assistant" for message in messages[since:]) - len(spans[first:])
        left = self._of_no_weight(messages, tools, whole)
        learned = tuple(span for place, span in enumerate(spans) if place >= first and place not in left)
        return Lesson(text, learned, tuple(start for start, _ in spans), rewritten)

    def text(self, text: str) -> Lesson:
        """A text as it stands, which is no conversation.

        Raises:
            UserError: it spells a special token.
        """
        if spelt := [token for token in self._special if token in text]:
            raise UserError(
                f"the text spells {spelt[0]}, which the tokenizer would take for the token: take it out, or leave the "
                "row out"
            )
        return Lesson(text, ())

    def encode(self, lessons: Sequence[Lesson]) -> list[Encoded]:
        """Texts as tokens, those of transformers, except that what comes before an answer is encoded as `prompt` does.

        Raises:
            UserError: a text has to be cut there, and the tokenizer would put something before the rest.
        """
        found = self._bordered.encode([(lesson.text, lesson.borders) for lesson in lessons])
        return [
            Encoded(ids, _trained(places[:, 0], lesson.spans))
            for lesson, (ids, places) in zip(lessons, found, strict=True)
        ]

    def _of_no_weight(self, messages: Messages, tools: Messages | None, whole: Marked) -> set[int]:
        """Which spans of a conversation are of answers with a weight of 0.

        Raises:
            UserError: the template writes a beginning's otherwise.
        """
        answers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
        found: set[int] = set()
        for number, following in zip(answers, [*answers[1:], None], strict=True):
            if messages[number].get("weight") == 0:
                first = self._spans_of(messages[:number], tools, whole)
                last = len(whole.spans) if following is None else self._spans_of(messages[:following], tools, whole)
                found.update(range(first, last))
        return found

    def _spans_of(self, beginning: Messages, tools: Messages | None, whole: Marked) -> int:
        """How many spans of a conversation are of its beginning; a message may have none, or several.

        Raises:
            UserError: the template writes the beginning's otherwise.
        """
        text, spans = self.template.mark(beginning, tools, True, self.bos, self.eos)
        before = [text[start:end] for start, end in spans]
        if before != [whole.text[start:end] for start, end in whole.spans[: len(spans)]]:
            raise UserError(
                f"{self.template.name} changes what the assistant says in the first {len(beginning)} messages as more "
                "come, so that it cannot be told from what is learned: leave the row out, or choose another template"
            )
        return len(spans)

    def _borders(self, messages: Messages, tools: Messages | None, text: str) -> tuple[int, ...]:
        """Where answers begin in a prompt."""
        try:
            marked = self.template.mark(messages, tools, True, self.bos, self.eos)
        except UserError:  # it does not tell: nothing can have been trained by it, so that any tokens will do
            return ()
        return tuple(start for start, _ in marked.spans) if marked.text == text else ()

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


def _trained(starts: NDArray[np.int64], spans: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which tokens are learned: those that begin within what is."""
    trained = np.zeros(len(starts), np.bool_)
    for first, last in spans:
        trained |= (starts >= first) & (starts < last)
    return trained
