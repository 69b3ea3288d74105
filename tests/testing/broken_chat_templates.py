"""Chat templates that break the contract, each in one way."""

from jinja2 import Environment

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.chat_templates.dialect import ENVIRONMENT, Generation


class Talk(ChatTemplate):
    """Is sound; the others are made of it."""

    special_tokens = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    end_of_turn = "<|end|>"
    roles = ("system", "user", "assistant")
    text = """{% for message in messages %}
<|{{ message.role }}|>
{%- if message.role == 'assistant' %}
{% generation %}{{ message.content }}<|end|>{% endgeneration +%}
{% else %}
{{ message.content }}<|end|>
{% endif %}
{% endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}"""


class BrokenUpper(Talk):
    """Writes what is asked in large letters."""

    text = Talk.text.replace("{{ message.content }}<|end|>\n", "{{ message.content | upper }}<|end|>\n")


class BrokenEnd(Talk):
    """Trains no end of turn."""

    text = Talk.text.replace("<|end|>{% endgeneration +%}", "{% endgeneration %}<|end|>")


class BrokenUser(Talk):
    """Trains what is asked, too."""

    text = Talk.text.replace(
        "{{ message.content }}<|end|>\n", "{% generation %}{{ message.content }}{% endgeneration %}<|end|>\n"
    )


class BrokenPrompt(Talk):
    """Asks with a space that is not trained."""

    text = Talk.text.replace("%}<|assistant|>{%", "%}<|assistant|> {%")


class BrokenOver(Talk):
    """Says that a conversation is over."""

    text = Talk.text + "{% if not add_generation_prompt %}It is over.{% endif %}"


class Over(BrokenOver):
    """Says that it means to."""

    rewrites = True


class BrokenPause(Talk):
    """Declares a token that it never writes."""

    special_tokens = (*Talk.special_tokens, "<|pause|>")


class BrokenStranger(Talk):
    """Takes whomever it does not know for a user."""

    def render(self, messages, *more, **options):
        known = [m if m.get("role") in self.roles else {**m, "role": "user"} for m in messages]
        return super().render(known, *more, **options)


class BrokenBox(Talk):
    """Renders by a Jinja that is not sandboxed."""

    def render(self, messages, tools=None, add_generation_prompt=False, bos_token=None, eos_token=None, variables=None):
        values = self._values(messages, tools, add_generation_prompt, bos_token, eos_token, variables)
        jinja = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[*ENVIRONMENT.extensions, Generation])
        return jinja.from_string(self.text).render(values)


class BrokenBound(Talk):
    """Keeps a function that has no name."""

    def __init__(self) -> None:
        super().__init__()
        self.write = lambda messages: self.render(messages)
