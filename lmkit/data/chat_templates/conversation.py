"""What a conversation must be before a template sees it, since Jinja writes nearly anything without complaint."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmkit.data.shown import short
from lmkit.errors import UserError

ROLES = ("system", "user", "assistant", "tool")
"""Who may speak; some templates write fewer."""


def check_messages(messages: Sequence[Mapping[str, Any]], roles: Sequence[str]) -> None:
    """Looks whether messages are a conversation among these roles.

    Raises:
        UserError: there are none, or one has no known role or no text.
    """
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence):
        raise UserError(
            f"the conversation is {short(messages)}: give a list of messages, each with a role and a content"
        )
    if not messages:
        raise UserError("the conversation is empty: give at least one message, with a role and a content")
    for number, message in enumerate(messages, 1):
        if not isinstance(message, Mapping):
            raise UserError(f"message {number} is {short(message)}: give a mapping with a role and a content")
        if not isinstance(role := message.get("role"), str):
            came = f"the role {short(role)}" if "role" in message else f"no role{_others(message)}"
            raise UserError(f"message {number} has {came}: give it a role ({', '.join(roles)}) and a content")
        if role not in roles:
            if role in ROLES:
                raise UserError(
                    f"message {number} has the role {short(role)}, which the chat template does not write (it writes "
                    f"{', '.join(roles)}): choose one that does, such as ChatML (--data.template=ChatML)"
                )
            raise UserError(f"message {number} has the role {short(role)}: give one of {', '.join(roles)}")
        content = message.get("content")
        if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
            came = f"the content {short(content)}" if "content" in message else f"no content{_others(message)}"
            raise UserError(f"message {number} ({role}) has {came}: give a text")


def check_tools(tools: Sequence[Mapping[str, Any]] | None) -> None:
    """Looks whether tools are described.

    Raises:
        UserError: one is not.
    """
    if tools is None:
        return
    if isinstance(tools, str | Mapping) or not isinstance(tools, Sequence):
        raise UserError(f"tools is {short(tools)}: give a list of JSON schemas")
    for number, tool in enumerate(tools, 1):
        if not isinstance(tool, Mapping):
            raise UserError(f"tool {number} is {short(tool)}: give its JSON schema, as a mapping")


def check_spelling(messages: Sequence[Any], tools: Sequence[Any] | None, tokens: Sequence[str]) -> None:
    """Looks whether a text spells a special token, by which whoever wrote it could end a turn and begin another.

    Raises:
        UserError: one does.
    """
    for what, values in (("message", messages), ("tool", tools or ())):
        for number, value in enumerate(values, 1):
            for text in _texts(value):
                if spelt := [token for token in tokens if token in text]:
                    raise UserError(
                        f"{what} {number} spells {spelt[0]}, which the tokenizer would take for the token: "
                        "take it out, or leave the conversation out"
                    )


def _texts(value: Any) -> Iterator[str]:
    """All texts within a value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts(part)


def _others(message: Mapping[str, Any]) -> str:
    """The keys that a message has in place of one that it needs."""
    return f", but {', '.join(map(str, message))}" if message else ""
