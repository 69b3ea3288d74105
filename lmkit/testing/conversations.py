"""Conversations for a chat template to write: among its roles, with letters that are easily spoilt, and with tools."""

from typing import Any

from lmkit.data.chat_templates import ChatTemplate
from lmkit.testing.results import Failed

ASKS = ('What is "{{ 7 * 6 }}" & <b>why</b>?\n\n- Größe\n- 日本語', "And twice that?")
SAYS = ("It is 42, ご挨拶 🙂,\n  {% if indented %} since 7 < 8.", "It is 84.")
CALLED = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Rome"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
FOUND = "33 degrees"


def talk(template: ChatTemplate) -> list[dict[str, Any]]:
    """A conversation of two questions, which begins with those that neither ask nor answer, such as the system."""
    if not {"user", "assistant"} <= {*template.roles}:
        raise Failed(f"roles is {template.roles}, without user or assistant", do="name both among roles")
    messages = [
        {"role": role, "content": f"You are {role} {number}."}
        for number, role in enumerate(template.roles)
        if role not in ("user", "assistant", "tool")
    ]
    for asks, says in zip(ASKS, SAYS, strict=True):
        messages += [{"role": "user", "content": asks}, {"role": "assistant", "content": says}]
    return messages


def talks(template: ChatTemplate) -> list[list[dict[str, Any]]]:
    """That conversation, one of a single question, and one with a call of a tool, if the template writes those."""
    whole = talk(template)
    talks = [whole, whole[:-2]]
    if "tool" in template.roles and "tool_calls" in template.text:
        call = {"role": "assistant", "content": None, "tool_calls": [CALLED]}
        talks.append([*whole[:-3], call, {"role": "tool", "content": FOUND}, whole[-1]])
    return talks


def said_in(message: dict[str, Any]) -> list[str]:
    """What of a message has to be written."""
    calls = [call["function"] for call in message.get("tool_calls", ())]
    words = [word for call in calls for word in (call["name"], *call["arguments"].values())]
    return [message["content"], *words] if message["content"] else words


def tools_of(template: ChatTemplate) -> list[dict[str, Any]] | None:
    """The schemas of the tools that there are, if the template writes any."""
    return [TOOL] if "tools" in template.text else None
