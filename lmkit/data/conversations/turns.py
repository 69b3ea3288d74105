"""What a conversation must be to be learned from, beyond what every template asks of its messages.

What is a fault, and why: nothing that the assistant says (nothing to learn); a start by the assistant or a tool
(nothing was asked); two turns of the user, or of the assistant, in a row (one between them was lost); an empty turn
(somebody was cut off); a tool behind the user, whom nobody can have called. What is allowed: an end by the user or a
tool, since only the assistant's turns are learned; messages of the system anywhere and several tools in a row, about
which the template decides; a tool that gives nothing; a call without text, or one that is written as text.
"""

from collections.abc import Sequence
from typing import Any

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.chat_templates.conversation import check_messages, check_tools
from lmkit.data.conversations.values import Conversation, Judged, Labelled, Messages, Preference
from lmkit.data.shown import short
from lmkit.errors import UserError

ROLES = ChatTemplate.roles


def check_turns(found: Any, roles: Sequence[str] = ROLES) -> None:
    """Looks whether a conversation, a preference, a judged completion or a labelled text can be learned from.

    Args:
        found: what a format gave.
        roles: who may speak, as a chat template says.

    Raises:
        UserError: it cannot.
    """
    if isinstance(found, Conversation):
        _turns(found.messages, roles)
    elif isinstance(found, Preference):
        if found.chosen == found.rejected:
            raise UserError("chosen and rejected are equal: give two answers that differ, or take the row out")
        _end(found.prompt, found.chosen, roles, "chosen")
        _end(found.prompt, found.rejected, roles, "rejected")
    elif isinstance(found, Judged):
        _end(found.prompt, found.completion, roles, "completion")
    elif isinstance(found, Labelled) and _blank(found.text):
        raise UserError("text is empty: give one, or take the row out")
    if not isinstance(found, Labelled):
        check_tools(found.tools)


def _end(prompt: Messages, end: Messages, roles: Sequence[str], name: str) -> None:
    """Looks at what follows a prompt, together with that."""
    if not end:
        raise UserError(f"{name} has nothing beyond what both begin with: give an answer of its own")
    try:
        _turns(prompt + end, roles)
    except UserError as error:
        raise UserError(f"of the prompt with {name}, {error}") from error
    for place, message in (("begin", end[0]), ("end", end[-1])):
        if message["role"] != "assistant":
            raise UserError(f"{name} {place}s with {short(message['role'])}: let it {place} with the assistant")


def _turns(messages: Messages, roles: Sequence[str]) -> None:
    """Looks at the messages of one conversation."""
    check_messages(messages, roles)
    before = None  # who spoke last
    spoken = {"system"}
    for number, message in enumerate(messages, 1):
        role = message["role"]
        if role in ("assistant", "tool") and "user" not in spoken:
            raise UserError(f"message {number}, the first but for the system's, is {short(role)}: begin with the user")
        if role == before and role in ("user", "assistant"):
            raise UserError(
                f"messages {number - 1} and {number} are both {short(role)}: join them, or add what is lost"
            )
        if role == "tool" and before not in ("assistant", "tool"):
            raise UserError(f"message {number} is a tool's, after {short(before)}: put the assistant's call before it")
        if role != "tool" and not message.get("tool_calls") and _blank(message["content"]):
            raise UserError(f"message {number} ({role}) is empty: give it a text, or take it out")
        if message.get("weight") not in (None, 0, 1):
            raise UserError(
                f"message {number} has the weight {short(message['weight'])}: give 0, not to learn it, or 1"
            )
        spoken.add(role)
        before = role
    if "assistant" not in spoken:
        raise UserError("the assistant says nothing, so that nothing is learned: add its answer, or take the row out")


def _blank(said: str) -> bool:
    return not said or said.isspace()
