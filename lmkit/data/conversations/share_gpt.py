"""The format of conversations that ShareGPT has begun, with the roles and tool calls that came to it later."""

from typing import Any, ClassVar

from lmkit.data.conversations.kinds import RowFormat
from lmkit.data.conversations.messages import opening, parsed, text, tools_of
from lmkit.data.conversations.values import Conversation, Message
from lmkit.data.shown import short
from lmkit.errors import UserError

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "tool_response": "tool",
    "function_response": "tool",
    "observation": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}
"""By the names that data sets have."""

_CALLS = ("function_call", "tool_call")


class ShareGPT(RowFormat):
    """Messages of `from` and `value`: human, gpt, system, tool, and function_call, whose value is the call as JSON.

    A call becomes the `tool_calls` of an assistant's message; what it gives may come from tool or observation.
    """

    gives = Conversation
    keys = ("conversations",)
    optional = ("system", "tools")
    aliases: ClassVar = {"conversation": "conversations", "messages": "conversations"}
    inner = ("from",)
    row: ClassVar = {
        "conversations": [
            {"from": "human", "value": "What is the capital of France?"},
            {"from": "gpt", "value": "Paris."},
        ]
    }

    def read(self, values: dict[str, Any]) -> Conversation:
        """The messages in OpenAI's shape."""
        held = values["conversations"]
        if not isinstance(held, list):
            raise UserError(f"conversations is {short(held)}: give a list of messages, each with a from and a value")
        said = (_message(message, number) for number, message in enumerate(held, 1))
        return Conversation((*opening(values), *said), tools_of(values))


def _message(message: Any, number: int) -> Message:
    if not isinstance(message, dict):
        raise UserError(f"message {number} is {short(message)}: give a mapping with a from and a value")
    if missing := [key for key in ("from", "value") if key not in message]:
        others = f", but {', '.join(map(str, message))}" if message else ""
        raise UserError(f"message {number} has no {' and no '.join(missing)}{others}: give it both")
    name, value = message["from"], message["value"]
    if not isinstance(name, str) or name not in ROLES:
        raise UserError(f"message {number} is from {short(name)}: give one of {', '.join(ROLES)}")
    kept = {key: part for key, part in message.items() if key not in ("from", "value") and part is not None}
    if name in _CALLS:
        return kept | {"role": "assistant", "content": None, "tool_calls": _calls(value, number)}
    return kept | {"role": ROLES[name], "content": text(value, f"message {number} ({name})")}


def _calls(value: Any, number: int) -> list[dict[str, Any]]:
    """The calls that a text of JSON says, one or a list of them, in OpenAI's shape."""
    what = f"message {number}, a function call,"
    held = parsed(value, what) if isinstance(value, str) else value
    calls = held if isinstance(held, list) else [held]
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise UserError(f"{what} is {short(call)}: give its name and its arguments, as JSON")
    if not calls:
        raise UserError(f"{what} is an empty list: give its name and its arguments, as JSON")
    functions = ({"name": call["name"], "arguments": call.get("arguments", {})} for call in calls)
    return [{"type": "function", "function": function} for function in functions]
