"""The built-in chat templates, and one that reads a file."""

from pathlib import Path

from lmkit.data.chat_templates.kind import ChatTemplate
from lmkit.errors import UserError


class ChatML(ChatTemplate):
    """OpenAI's markup of 2023, which many families use: each message between `<|im_start|>role` and `<|im_end|>`.

    Tools are written as in Hermes 2 Pro (Nous Research, 2024), which servers can read: their schemas in `<tools>` at
    the end of the system message, the assistant's calls in `<tool_call>`, what they give in `<tool_response>`.
    """

    special_tokens = ("<|im_start|>", "<|im_end|>")
    end_of_turn = "<|im_end|>"
    text = r"""
{%- macro offer() %}
You may call these functions, each described by its JSON schema:
<tools>
{% for tool in tools %}
{{ tool | tojson }}
{% endfor %}
</tools>
To call one, write its name and its arguments as JSON:
<tool_call>
{"name": "...", "arguments": {...}}
</tool_call>
{%- endmacro %}
{% macro call(function) %}
<tool_call>
{"name": {{ function.name | tojson }}, "arguments":
{{- ' ' ~ (function.arguments if function.arguments is string else function.arguments | tojson) }}}
</tool_call>
{%- endmacro %}
{% if tools and messages[0].role != 'system' %}
<|im_start|>system
{{ offer() }}<|im_end|>
{% endif %}
{% for message in messages %}
<|im_start|>{{ message.role }}
{% if message.role == 'assistant' %}
{% generation %}
{{ message.content or '' }}
{%- for made in message.tool_calls or [] %}
{{ '\n' if message.content or not loop.first }}{{ call(made.function or made) }}
{%- endfor %}
<|im_end|>
{%- endgeneration +%}
{% elif message.role == 'tool' %}
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}
{{ message.content }}{{ '\n\n' ~ offer() if tools and loop.first and message.role == 'system' }}<|im_end|>
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}
"""


class Llama3(ChatTemplate):
    """Llama 3's (Grattafiori et al. 2024, arXiv:2407.21783), without the tools and dates that came with 3.1."""

    special_tokens = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    end_of_turn = "<|eot_id|>"
    roles = ("system", "user", "assistant")
    text = r"""<|begin_of_text|>
{%- for message in messages %}
<|start_header_id|>{{ message.role }}<|end_header_id|>

{% if message.role == 'assistant' %}
{% generation %}{{ message.content | trim }}<|eot_id|>{% endgeneration %}
{% else %}
{{ message.content | trim }}<|eot_id|>
{%- endif %}
{% endfor %}
{% if add_generation_prompt %}
<|start_header_id|>assistant<|end_header_id|>

{% endif %}
"""


class Plain(ChatTemplate):
    """Lines that begin with `System:`, `User:` or `Assistant:`; needs no token but the tokenizer's `eos_token`.

    The assistant's text begins with the space before its first word, because that is how tokenizers split.
    """

    roles = ("system", "user", "assistant")
    text = r"""
{%- for message in messages %}
{% if message.role == 'assistant' %}
Assistant:{% generation %} {{ message.content | trim }}{{ eos_token }}{% endgeneration +%}
{% else %}
{{ message.role | capitalize }}: {{ message.content | trim }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
Assistant:
{%- endif %}
"""


class JinjaFile(ChatTemplate):
    """A template in a file, as the `chat_template.jinja` of a model on Hugging Face.

    Args:
        path: the file, in UTF-8.
        end_of_turn: the token by which the assistant ends; none: the tokenizer's `eos_token`.
        special_tokens: others that the template writes and the tokenizer has to know as one token each.
        roles: who may speak.
    """

    def __init__(
        self,
        path: str,
        end_of_turn: str | None = None,
        special_tokens: tuple[str, ...] = (),
        roles: tuple[str, ...] = ChatTemplate.roles,
    ) -> None:
        self.path = path
        self.end_of_turn = end_of_turn
        self.special_tokens = tuple(dict.fromkeys((*special_tokens, *([end_of_turn] if end_of_turn else []))))
        self.roles = tuple(roles)
        try:
            self._text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            told = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UserError(f"cannot read the chat template {path} ({told}): give the path of a Jinja file") from error
        if not self._text.strip():
            raise UserError(
                f"the chat template {path} is empty: give the path of a Jinja file that writes a conversation"
            )
        super().__init__()

    @property
    def text(self) -> str:
        """What the file held when this was made."""
        return self._text

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"the chat template {self.path}"
