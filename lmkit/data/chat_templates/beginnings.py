"""What the assistant says, in the text of a template that has no `{% generation %}`, as most on Hugging Face have none.

The template writes each beginning of the conversation by itself: up to an answer, with the prompt for it, and with the
answer. Where one text goes on with the other, what is added is the answer. Templates of models that think (Qwen 3) take
thoughts out once the next question has come: an answer that has lost only what the template had put before it is
learned as it then stands, one that has lost something of its own is not, since no model should learn to leave it out.
"""

from collections.abc import Mapping
from typing import Any

from lmkit.data.chat_templates import dialect
from lmkit.data.chat_templates.dialect import Marked, MarksLost

_PROBE = "\ue000"
"""In place of what is said; no template begins an answer by it."""


def mark_by_beginnings(text: str, values: Mapping[str, Any], end: str | None) -> Marked:
    """What a template writes, and which of that the assistant says, its end of turn included.

    An answer that is changed as more messages come has no span.

    Args:
        text: the template.
        values: what it is given, `messages` among them.
        end: the token by which the assistant ends; what is written behind it, such as a line's end, is no answer.

    Raises:
        MarksLost: an answer is not written, or all are changed.
    """
    whole = dialect.render(text, values)
    numbers = [number for number, message in enumerate(values["messages"]) if message["role"] == "assistant"]
    found = [_find(text, values, number, whole, end) for number in numbers]
    spans = tuple(span for span in found if span is not None)
    if found and not spans and not values["add_generation_prompt"]:  # before a prompt there may be none
        raise MarksLost("without a generation block, and earlier messages change as more come")
    return Marked(whole, spans)


def _find(text: str, values: Mapping[str, Any], number: int, whole: str, end: str | None) -> tuple[int, int] | None:
    """Where an answer stands in the whole; none where it is changed there.

    Raises:
        MarksLost: nothing is written of it.
    """
    bare, before = (_beginning(text, values, number, prompts) for prompts in (False, True))
    after = _beginning(text, values, number + 1, False)
    head = before
    if not after.startswith(before):
        head = _shared(before, after, _beginning(text, _probed(values, number), number + 1, False))
    asked = len(_shared(bare, before))  # all that was said; some templates end it by another token without a prompt
    if len(head) < asked:
        return None
    if not _until(after, len(head), end):
        raise MarksLost(f"of message {number + 1} it writes nothing")
    if not whole.startswith(head):
        head = _shared(head, whole, dialect.render(text, _probed(values, number)))
    said, kept = (_until(written, len(head), end) for written in (after, whole))
    if whole.startswith(after):
        return len(head), len(head) + len(said)
    message = values["messages"][number]
    own = [str(message.get(key) or "").strip() for key in ("content", "reasoning_content")]
    found = end is not None and kept.endswith(end) and said.endswith(kept) and len(head) >= asked
    if found and (kept == said or all(part in kept for part in own)):
        return len(head), len(head) + len(kept)
    return None


def _probed(values: Mapping[str, Any], number: int) -> dict[str, Any]:
    """A conversation in which one message says something that no template writes."""
    messages = values["messages"]
    return {
        **values,
        "messages": [*messages[:number], {**messages[number], "content": _PROBE}, *messages[number + 1 :]],
    }


def _shared(*texts: str) -> str:
    """What all texts begin with."""
    same = next((place for place, letters in enumerate(zip(*texts, strict=False)) if len({*letters}) > 1), None)
    return min(texts, key=len) if same is None else texts[0][:same]


def _until(text: str, start: int, end: str | None) -> str:
    """A text from a place up to the next token by which the assistant ends, or all where there is none."""
    found = text.find(end, start) if end else -1
    return text[start:] if found < 0 else text[start : found + len(end or "")]


def _beginning(text: str, values: Mapping[str, Any], count: int, prompts: bool) -> str:
    """The first messages, and whether the prompt for an answer follows."""
    return dialect.render(text, {**values, "messages": values["messages"][:count], "add_generation_prompt": prompts})
