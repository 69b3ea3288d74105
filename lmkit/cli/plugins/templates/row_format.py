"""Template, a row format: write here which data sets have it, and what their terms are."""

from typing import Any, ClassVar

from lmkit.data.conversations import Conversation, RowFormat
from lmkit.errors import UserError


class Template(RowFormat):
    """A question with the text that it is asked about, and its answer, as in Dolly (Databricks 2023)."""

    gives = Conversation
    keys = ("instruction", "response")
    optional = ("context",)
    row: ClassVar = {
        "instruction": "When was it built?",
        "context": "The tower was built in 1889 and is 330 metres tall.",
        "response": "In 1889.",
    }

    def read(self, values: dict[str, Any]) -> Conversation:
        """The text stands above the question."""
        context, asked, answer = values.get("context") or "", values["instruction"], values["response"]
        for name, value in (("context", context), ("instruction", asked), ("response", answer)):
            if not isinstance(value, str):
                raise UserError(f"{name} is a {type(value).__name__}: give a text")
        content = f"{context}\n\n{asked}" if context else asked
        messages = ({"role": "user", "content": content}, {"role": "assistant", "content": answer})
        return Conversation(messages)
