"""Template, a chat template: write here what it is, and which models write conversations so."""

from lmkit.data.chat_templates import ChatTemplate


class Template(ChatTemplate):
    """Each message between a token of its role and one that ends it."""

    special_tokens = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    end_of_turn = "<|end|>"
    roles = ("system", "user", "assistant")
    text = r"""
{%- for message in messages %}
<|{{ message.role }}|>
{% if message.role == 'assistant' %}
{# what stands within generation is trained: what the assistant says, and the token by which it ends #}
{% generation %}{{ message.content }}<|end|>{% endgeneration +%}
{% else %}
{{ message.content }}<|end|>
{% endif %}
{% endfor %}
{% if add_generation_prompt %}
<|assistant|>
{% endif %}
"""
