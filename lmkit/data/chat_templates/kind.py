"""The kind `ChatTemplate`: a Jinja text that writes a conversation, and as data what a tokenizer must know for it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lmkit.data.chat_templates import dialect
from lmkit.data.chat_templates.beginnings import mark_by_beginnings
from lmkit.data.chat_templates.conversation import ROLES, check_messages, check_spelling, check_tools
from lmkit.data.chat_templates.dialect import Marked
from lmkit.data.chat_templates.failures import told
from lmkit.errors import UserError

EXAMPLE = (
    {"role": "system", "content": "You answer in one word."},
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
)


class ChatTemplate(ABC):
    """A kind: how a conversation becomes text. A class gives the text of a template, and what is told beside it.

    Attributes:
        text: the template, in the Jinja of transformers, which can use it as it stands; what the assistant says, with
            the token by which it ends, stands within `{% generation %}`.
        special_tokens: what it writes that the tokenizer has to know as one token each.
        end_of_turn: the special token by which the assistant ends, where generation has to stop; none: `eos_token`.
        roles: who may speak.
        rewrites: whether a later message changes what is written of earlier ones, as where thoughts are left out.
    """

    special_tokens: tuple[str, ...] = ()
    end_of_turn: str | None = None
    roles: tuple[str, ...] = ROLES
    rewrites: bool = False

    def __init__(self) -> None:
        with told(self.name):
            dialect.compiled(self.text)

    @property
    @abstractmethod
    def text(self) -> str:
        """The template."""

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"the chat template {type(self).__name__}"

    @property
    def tells(self) -> bool:
        """Whether it has generation blocks, which tell what the assistant says."""
        with told(self.name):
            return dialect.tells_generation(self.text)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        bos_token: str | None = None,
        eos_token: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """A conversation as text, whose special tokens are to be encoded as tokens, without adding any.

        Args:
            messages: each with a `role` and a `content`; the assistant's also with `tool_calls`, as in OpenAI's API.
            tools: JSON schemas of the functions that the assistant may call.
            add_generation_prompt: whether the text ends where the assistant is to go on.
            bos_token: the tokenizer's, for templates that write it.
            eos_token: the tokenizer's, for templates that write it.
            variables: more that the template reads, such as `enable_thinking`.

        Raises:
            UserError: it is no conversation that the template can write.
        """
        values = self._values(messages, tools, add_generation_prompt, bos_token, eos_token, variables)
        with told(self.name):
            return dialect.render(self.text, values)

    def mark(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        bos_token: str | None = None,
        eos_token: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Marked:
        """As `render`, with the spans of characters that the assistant says, its end of turn included: what is trained.

        A template without `{% generation %}` is asked for the beginnings of the conversation, one after another.

        Raises:
            UserError: it is no conversation that the template can write, or the template does not tell the spans.
        """
        values = self._values(messages, tools, add_generation_prompt, bos_token, eos_token, variables)
        if not eos_token and "eos_token" in self.text:
            raise UserError(f"{self.name} ends turns by eos_token, but none is given: give the tokenizer's")
        with told(self.name):
            if self.tells:
                return dialect.mark(self.text, values)
            return mark_by_beginnings(self.text, values, self.end_of_turn or eos_token)

    def example(self) -> str:
        """A short conversation as it is written, what of that is trained, and which tokens it takes."""
        messages = [message for message in EXAMPLE if message["role"] in self.roles]
        text, spans = self.render(messages, eos_token="<eos>"), tuple[tuple[int, int]]()
        if self.tells:
            text, spans = self.mark(messages, eos_token="<eos>")
        trained = ", ".join(repr(text[start:end]) for start, end in spans)
        return (
            f"{text.rstrip()}\n\nTrained, the assistant's: {trained or 'nothing, without a generation block'}\n"
            f"Special tokens: {', '.join(self.special_tokens) or 'none of its own'}\n"
            f"The assistant ends by: {self.end_of_turn or 'eos_token'}"
        )

    def _values(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None,
        add_generation_prompt: bool,
        bos_token: str | None,
        eos_token: str | None,
        variables: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """What the template is given, once that is looked through; a token that there is not is left undefined."""
        check_messages(messages, self.roles)
        check_tools(tools)
        for name, came in (("tools", tools), ("tool_calls", any(message.get("tool_calls") for message in messages))):
            if came and name not in self.text:
                raise UserError(f"{self.name} cannot write {name}: choose one that can, such as ChatML")
        tokens = {name: token for name, token in (("bos_token", bos_token), ("eos_token", eos_token)) if token}
        check_spelling(messages, tools, (*self.special_tokens, *tokens.values()))
        values = {"messages": messages, "tools": tools, "add_generation_prompt": add_generation_prompt, **tokens}
        if taken := [name for name in variables or {} if name in {*values, "bos_token", "eos_token"}]:
            raise UserError(f"variables has {', '.join(taken)}: give that by the parameter of this name")
        return {"documents": None, **(variables or {}), **values}
