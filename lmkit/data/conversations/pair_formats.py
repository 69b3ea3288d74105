"""The formats of preferences: a prompt with two answers, and two whole conversations with a common beginning."""

from typing import Any, ClassVar

from lmkit.data.conversations.kinds import RowFormat
from lmkit.data.conversations.messages import messages_of, opening, prompt_of, said, tools_of
from lmkit.data.conversations.values import Messages, Preference
from lmkit.errors import UserError


class PromptChosenRejected(RowFormat):
    """A prompt and two answers: texts, or lists of messages.

    Answers that repeat the prompt, as those of UltraFeedback do, are read as whole conversations.
    """

    gives = Preference
    keys = ("prompt", "chosen", "rejected")
    optional = ("system", "tools")
    row: ClassVar = {
        "prompt": "What is the capital of France?",
        "chosen": "Paris.",
        "rejected": "Lyon.",
    }

    def read(self, values: dict[str, Any]) -> Preference:
        """The prompt and what follows it."""
        chosen, rejected = (said(values[key], key, "assistant") for key in ("chosen", "rejected"))
        if _answers(chosen) and _answers(rejected):
            return Preference(prompt_of(values), chosen, rejected, tools_of(values))
        common, chosen, rejected = divided(chosen, rejected)
        prompt = _together(said(values["prompt"], "prompt", "user"), common)
        if prompt is None:
            raise UserError(
                "chosen or rejected begins with the user or the system, but not with the prompt: "
                "let both begin with the assistant, or with the whole prompt"
            )
        return Preference(_opened(values, prompt), chosen, rejected, tools_of(values))


class ChosenRejected(RowFormat):
    """Two whole conversations, as lists of messages; what they begin with in common is the prompt.

    So are the pairs of Anthropic's HH (Bai et al. 2022, arXiv:2204.05862), once they are messages.
    """

    gives = Preference
    keys = ("chosen", "rejected")
    optional = ("system", "tools")
    row: ClassVar = {
        "chosen": [
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "Paris."},
        ],
        "rejected": [
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "Lyon."},
        ],
    }

    def read(self, values: dict[str, Any]) -> Preference:
        """The common beginning, and both ends."""
        prompt, chosen, rejected = divided(*(messages_of(values[key], key) for key in ("chosen", "rejected")))
        return Preference(_opened(values, prompt), chosen, rejected, tools_of(values))


def divided(chosen: Messages, rejected: Messages) -> tuple[Messages, Messages, Messages]:
    """What two conversations begin with in common, and what is left of each.

    Raises:
        UserError: they differ in what is asked.
    """
    pairs = zip(chosen, rejected, strict=False)
    common = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(chosen), len(rejected)))
    ends = chosen[common:], rejected[common:]
    if all(ends) and not all(map(_answers, ends)):
        raise UserError(
            "chosen and rejected are answers to different prompts: let both begin with the same messages, up to the "
            "assistant's that is better or worse"
        )
    return chosen[:common], *ends


def _answers(messages: Messages) -> bool:
    """Whether messages go on from a prompt; those that begin with whoever asks are whole conversations."""
    first = messages[0].get("role") if messages and isinstance(messages[0], dict) else None
    return first not in ("user", "system")


def _together(prompt: Messages, common: Messages) -> Messages | None:
    """A prompt with what both answers begin with, which holds the prompt or is its end; none if it is another one."""
    asked, begun = ([each.get("content") if isinstance(each, dict) else each for each in m] for m in (prompt, common))
    places = range(len(begun) - len(asked) + 1)
    if any(begun[place : place + len(asked)] == asked for place in places):
        return common
    first = len(asked) - len(begun)
    return prompt[:first] + common if begun and asked[first:] == begun else None


def _opened(values: dict[str, Any], messages: Messages) -> Messages:
    """Messages behind the row's `system`, unless they begin with that."""
    first = opening(values)
    return messages if messages[:1] == first else first + messages
