"""Prompts with answers as examples: what the answers share, then each of them by itself."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from lmkit.data.chat_templates.encoder import ChatEncoder, Encoded, Lesson
from lmkit.data.conversations import Messages
from lmkit.data.examples.cutting import longest_that_fits
from lmkit.data.examples.maker import Example, Maker
from lmkit.errors import UserError


class Answers(Maker):
    """Makes an example of a prompt and its answers.

    Args:
        context: the most tokens of a prompt and one answer.
        too_long: what becomes of those that are longer.
    """

    def __init__(self, context: int, too_long: Literal["cut", "drop"]) -> None:
        self.context, self.too_long = context, too_long

    @abstractmethod
    def answers(self, value: Any) -> Sequence[Messages]:
        """What follows the prompt of a row, once or several times."""

    def told(self, value: Any) -> Sequence[float]:
        """The numbers of a row."""
        return ()

    def marked(self, encoder: ChatEncoder, value: Any) -> list[Lesson]:
        """See `Maker`."""
        prompt = value.prompt  # whose answers are not learned
        return [encoder.mark([*prompt, *answer], value.tools, len(prompt)) for answer in self.answers(value)]

    def example(self, encoder: ChatEncoder, value: Any, texts: Sequence[Lesson], encoded: Sequence[Encoded]) -> Example:
        """See `Maker`."""
        pieces = split(encoded)
        if _longest(pieces) <= self.context:
            return self._of(encoder, value, texts, pieces)
        cuts = _questions(value.prompt)[:0:-1] if self.too_long == "cut" else []
        taken, cut = partial(self._taken, encoder, value), partial(self._cut, encoder, value)
        if example := longest_that_fits(cuts, self.context, taken, cut):
            return example
        tokens = taken(cuts[0]) if cuts else _longest(pieces)
        raise UserError(
            f"the prompt with an answer has {tokens} tokens, more than {self.context}: give a longer data.context"
        )

    def _of(self, encoder: ChatEncoder, value: Any, texts: Sequence[Lesson], pieces: Sequence[Encoded]) -> Example:
        learned, rewritten = sum(bytes_learned(text, encoder) for text in texts), sum(text.rewritten for text in texts)
        return Example(pieces, learned, self.told(value), rewritten=rewritten)

    def _since(self, encoder: ChatEncoder, value: Any, question: int) -> tuple[Any, list[Lesson], list[Encoded]]:
        """A row whose prompt has no questions but those since one, its texts, and its pieces."""
        first = _questions(value.prompt)[0]
        shorter = value._replace(prompt=(*value.prompt[:first], *value.prompt[question:]))
        texts = self.marked(encoder, shorter)
        return shorter, texts, split(encoder.encode(texts))

    def _taken(self, encoder: ChatEncoder, value: Any, question: int) -> int:
        """Tokens of the prompt since a question, with the longest answer."""
        _, _, pieces = self._since(encoder, value, question)
        return _longest(pieces)

    def _cut(self, encoder: ChatEncoder, value: Any, question: int) -> Example | None:
        """The example of the prompt since a question; none where it is too long."""
        shorter, texts, pieces = self._since(encoder, value, question)
        if _longest(pieces) > self.context:
            return None
        return self._of(encoder, shorter, texts, pieces)._replace(cut=True)


def split(encoded: Sequence[Encoded]) -> list[Encoded]:
    """Conversations of one prompt as what they share, up to the first token that is learned, and what each has by
    itself, up to the last.

    Raises:
        UserError: they do not differ, or nothing is learned of one.
    """
    learned = [np.flatnonzero(one.trained) for one in encoded]
    if not all(map(len, learned)):
        raise UserError("an answer has no token to learn: let the assistant say something in each")
    end = min(int(tokens[0]) for tokens in learned)
    first = encoded[0].ids[:end]
    for other in encoded[1:]:
        differ = np.flatnonzero(other.ids[:end] != first[:end])
        end = int(differ[0]) if len(differ) else end
    answers = [
        Encoded(one.ids[end : int(tokens[-1]) + 1], one.trained[end : int(tokens[-1]) + 1])
        for one, tokens in zip(encoded, learned, strict=True)
    ]
    if len(answers) > 1 and all(np.array_equal(answers[0].ids, answer.ids) for answer in answers[1:]):
        raise UserError("the chosen and the rejected answer are the same tokens: leave the pair out")
    if end == 0:
        raise UserError("the answers share no token with a prompt: choose a template that writes the prompt first")
    return [Encoded(first[:end], np.zeros(end, np.bool_)), *answers]


def _longest(pieces: Sequence[Encoded]) -> int:
    """Tokens of a prompt and the longest answer."""
    return len(pieces[0].ids) + max(len(piece.ids) for piece in pieces[1:])


def _questions(prompt: Messages) -> list[int]:
    """Which messages of a prompt are questions."""
    return [number for number, message in enumerate(prompt) if message["role"] == "user"]


def bytes_learned(lesson: Lesson, encoder: ChatEncoder) -> int:
    """Bytes of the text that is learned, without the tokens by which turns end."""
    said = (lesson.text[start:end] for start, end in lesson.spans)
    return sum(len(text.removesuffix(encoder.end_of_turn).encode()) for text in said)
