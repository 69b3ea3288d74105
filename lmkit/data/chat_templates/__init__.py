"""Chat templates: how a conversation becomes text, and which of the text is the assistant's."""

from lmkit.data.chat_templates.built_in import ChatML, JinjaFile, Llama3, Plain
from lmkit.data.chat_templates.dialect import Marked
from lmkit.data.chat_templates.kind import ChatTemplate

__all__ = ["ChatML", "ChatTemplate", "JinjaFile", "Llama3", "Marked", "Plain"]
