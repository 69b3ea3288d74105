"""Values of a row as messages and tools, in the one shape that everything behind takes them in."""

import json
from typing import Any

from lmkit.data.conversations.values import Message, Messages
from lmkit.data.shown import short
from lmkit.errors import UserError


def messages_of(value: Any, key: str) -> Messages:
    """A list of messages in OpenAI's shape, which stay as they came but for nulls and for content in parts of text.

    Args:
        value: the list.
        key: its name, for errors.

    Raises:
        UserError: it is no list.
    """
    if not isinstance(value, list | tuple):
        raise UserError(f"{key} is {short(value)}: give a list of messages, each with a role and a content")
    return tuple(_plain(message) if isinstance(message, dict) else message for message in value)


def opening(values: dict[str, Any]) -> Messages:
    """What a row has as its `system`, as the first message; nothing where it has none.

    Raises:
        UserError: it is no text.
    """
    system = values.get("system")
    if system is None or system == "":
        return ()
    return ({"role": "system", "content": text(system, "system")},)


def prompt_of(values: dict[str, Any]) -> Messages:
    """What a row has as its `system` and `prompt`: a text is the user's."""
    return opening(values) + said(values["prompt"], "prompt", "user")


def said(value: Any, key: str, role: str) -> Messages:
    """A text as the message of a role, a mapping as the one message that it is, a list as messages.

    Raises:
        UserError: it is nothing of these.
    """
    if isinstance(value, str):
        return ({"role": role, "content": value},)
    if not isinstance(value, list | tuple | dict):
        raise UserError(f"{key} is {short(value)}: give a text, or a list of messages")
    return messages_of([value] if isinstance(value, dict) else value, key)


def tools_of(values: dict[str, Any]) -> list[Any] | None:
    """What a row has as its `tools`, a list or its JSON as text; none where it has none.

    Raises:
        UserError: the text is not JSON, or what it has is no list.
    """
    tools = values.get("tools")
    if isinstance(tools, str) and tools:
        tools = parsed(tools, "tools")
    if not tools:
        return None
    if not isinstance(tools, list):
        raise UserError(f"tools is {short(tools)}: give a list of JSON schemas")
    return tools


def parsed(value: str, what: str) -> Any:
    """A text that has to be JSON.

    Raises:
        UserError: it is not.
    """
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{what} is {short(value)}, which is not JSON ({error}): mend it") from error


def text(value: Any, key: str) -> str:
    """A text.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, str):
        raise UserError(f"{key} is {short(value)}: give a text")
    return value


def _plain(message: Message) -> Message:
    """A message without keys of null, as columns give them, and with its parts of text as one text."""
    content = message.get("content")
    if isinstance(content, str) and None not in message.values():
        return message
    kept = {key: value for key, value in message.items() if value is not None}
    if isinstance(content, list) and content and all(map(_is_text, content)):
        kept["content"] = "".join(part["text"] for part in content)
    if content is None and ("content" in message or message.get("tool_calls")):
        kept["content"] = None
    return kept


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
