"""What the assistant says, in the text of a template that has no `{% generation %}`, as most on Hugging Face have none.

The template writes each beginning of the conversation by itself: up to an answer, with the prompt for it, and with the
answer. Where one text goes on with the other, what is added is the answer.
"""

from collections.abc import Mapping
from typing import Any

from lmkit.data.chat_templates import dialect
from lmkit.data.chat_templates.dialect import Marked, MarksLost


def mark_by_beginnings(text: str, values: Mapping[str, Any], end: str | None) -> Marked:
    """What a template writes, and which of that the assistant says, its end of turn included.

    Args:
        text: the template.
        values: what it is given, `messages` among them.
        end: the token by which the assistant ends; what is written behind it, such as a line's end, is no answer.

    Raises:
        MarksLost: a beginning is written otherwise than the whole.
    """
    messages = values["messages"]
    whole = dialect.render(text, values)
    spans = []
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = _beginning(text, values, number, True)
        after = _beginning(text, values, number + 1, False)
        if not after.startswith(before) or not whole.startswith(after):
            raise MarksLost("without a generation block, and earlier messages change as more come")
        if after == before:
            raise MarksLost(f"of message {number + 1} it writes nothing")
        found = after.find(end, len(before)) if end else -1
        spans.append((len(before), len(after) if found < 0 else found + len(end or "")))
    return Marked(whole, tuple(spans))


def _beginning(text: str, values: Mapping[str, Any], count: int, prompts: bool) -> str:
    """The first messages, and whether the prompt for an answer follows."""
    return dialect.render(text, {**values, "messages": values["messages"][:count], "add_generation_prompt": prompts})
