"""Rows as conversations, preferences, judged completions and labelled texts, with faults that are told by row."""

from lmkit.data.conversations.faults import Faults
from lmkit.data.conversations.finding import find_format
from lmkit.data.conversations.formats import Alpaca, OpenAIMessages, PromptCompletion
from lmkit.data.conversations.kinds import RowFormat
from lmkit.data.conversations.label_formats import PromptCompletionLabel, TextLabel
from lmkit.data.conversations.pair_formats import ChosenRejected, PromptChosenRejected
from lmkit.data.conversations.reading import read
from lmkit.data.conversations.share_gpt import ShareGPT
from lmkit.data.conversations.turns import check_turns
from lmkit.data.conversations.values import Conversation, Judged, Labelled, Message, Messages, Preference

__all__ = [
    "Alpaca",
    "ChosenRejected",
    "Conversation",
    "Faults",
    "Judged",
    "Labelled",
    "Message",
    "Messages",
    "OpenAIMessages",
    "Preference",
    "PromptChosenRejected",
    "PromptCompletion",
    "PromptCompletionLabel",
    "RowFormat",
    "ShareGPT",
    "TextLabel",
    "check_turns",
    "find_format",
    "read",
]
