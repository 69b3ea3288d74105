"""The formats of what is labelled: a completion as good or bad, a text by its class."""

from typing import Any, ClassVar

from lmkit.data.conversations.kinds import RowFormat
from lmkit.data.conversations.messages import prompt_of, said, text, tools_of
from lmkit.data.conversations.values import Judged, Labelled
from lmkit.data.shown import short
from lmkit.errors import UserError


class PromptCompletionLabel(RowFormat):
    """A prompt, its completion, and as label whether that is good: true or false, 1 or 0; none to predict."""

    gives = Judged
    keys = ("prompt", "completion")
    optional = ("label", "system", "tools")
    row: ClassVar = {
        "prompt": "What is the capital of France?",
        "completion": "Paris.",
        "label": True,
    }

    def read(self, values: dict[str, Any]) -> Judged:
        """The prompt and what follows it."""
        label = values.get("label")
        if label is not None and (not isinstance(label, int | float) or label not in (0, 1)):
            raise UserError(f"label is {short(label)}: give true or false")
        completion = said(values["completion"], "completion", "assistant")
        return Judged(prompt_of(values), completion, None if label is None else bool(label), tools_of(values))


class TextLabel(RowFormat):
    """A text and its label, a word or a whole number; true and false are 1 and 0; none to predict."""

    gives = Labelled
    keys = ("text",)
    optional = ("label",)
    row: ClassVar = {"text": "You have won a prize!", "label": "spam"}

    def read(self, values: dict[str, Any]) -> Labelled:
        """Both as they came."""
        label = values.get("label")
        if isinstance(label, bool) or (isinstance(label, float) and label.is_integer()):
            label = int(label)
        if not isinstance(label, str | int | None):
            raise UserError(f"label is {short(label)}: give a word or a whole number")
        return Labelled(text(values["text"], "text"), label)
