"""The formats of conversations, but for ShareGPT's: OpenAI's, Alpaca's, and prompts with completions."""

from typing import Any, ClassVar

from lmkit.data.conversations.kinds import RowFormat
from lmkit.data.conversations.messages import messages_of, opening, prompt_of, said, text, tools_of
from lmkit.data.conversations.values import Conversation


class OpenAIMessages(RowFormat):
    """Messages of `role` and `content`, and `tools`, as the chat API of OpenAI takes them.

    Of a message all keys stay, such as `tool_calls`, `tool_call_id` or `name`; an answer whose `weight` is 0 is not
    learned, as in the data of OpenAI's fine-tuning.
    """

    gives = Conversation
    keys = ("messages",)
    optional = ("tools", "system")
    aliases: ClassVar = {"conversation": "messages", "conversations": "messages"}
    inner = ("role",)
    row: ClassVar = {
        "messages": [
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "Paris."},
        ]
    }

    def read(self, values: dict[str, Any]) -> Conversation:
        """The messages as they came."""
        return Conversation(opening(values) + messages_of(values["messages"], "messages"), tools_of(values))


class Alpaca(RowFormat):
    """An instruction with its input, and the output (Taori et al. 2023, https://github.com/tatsu-lab/stanford_alpaca).

    The user's message is the instruction and, below an empty line, the input. The frame of words that Alpaca has put
    around both is the chat template's business.
    """

    gives = Conversation
    keys = ("instruction", "output")
    optional = ("input", "system", "tools")
    row: ClassVar = {
        "instruction": "Name the capital of this country.",
        "input": "France",
        "output": "Paris.",
    }

    def read(self, values: dict[str, Any]) -> Conversation:
        """One question and its answer."""
        asked, more = text(values["instruction"], "instruction"), values.get("input")
        if more is not None and more != "":
            asked = f"{asked}\n\n{text(more, 'input')}"
        answer = {"role": "assistant", "content": text(values["output"], "output")}
        return Conversation((*opening(values), {"role": "user", "content": asked}, answer), tools_of(values))


class PromptCompletion(RowFormat):
    """A prompt and its completion: texts of the user and of the assistant, or lists of messages."""

    gives = Conversation
    keys = ("prompt", "completion")
    optional = ("system", "tools")
    row: ClassVar = {"prompt": "What is the capital of France?", "completion": "Paris."}

    def read(self, values: dict[str, Any]) -> Conversation:
        """Both as one conversation."""
        return Conversation(prompt_of(values) + said(values["completion"], "completion", "assistant"), tools_of(values))
