"""What a row can mean: a conversation, a preference between two ends of one, an end that is judged, a labelled text.

Messages are mappings in the shape of OpenAI's API, as chat templates take them: `role`, `content`, of the assistant
also `tool_calls`, and whatever else a template may read.
"""

from typing import Any, NamedTuple

Message = dict[str, Any]
Messages = tuple[Message, ...]


class Conversation(NamedTuple):
    """Messages to learn from.

    Attributes:
        messages: in their order.
        tools: JSON schemas of the functions that the assistant may call; none where there are none.
    """

    messages: Messages
    tools: list[Any] | None = None


class Preference(NamedTuple):
    """Two ways to go on, of which one is better.

    Attributes:
        prompt: the messages that both begin with.
        chosen: those of the better one, from the assistant's on.
        rejected: those of the worse one.
        tools: as in a `Conversation`.
    """

    prompt: Messages
    chosen: Messages
    rejected: Messages
    tools: list[Any] | None = None


class Judged(NamedTuple):
    """One way to go on, and whether it is a good one.

    Attributes:
        prompt: the messages that it begins with.
        completion: those that are judged, from the assistant's on.
        desirable: whether they are good; none where that is not known, of what is to be predicted.
        tools: as in a `Conversation`.
    """

    prompt: Messages
    completion: Messages
    desirable: bool | None
    tools: list[Any] | None = None


class Labelled(NamedTuple):
    """A text and the class that it belongs to, by its name or number; none where that is to be predicted."""

    text: str
    label: str | int | None
