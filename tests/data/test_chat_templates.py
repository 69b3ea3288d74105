"""Chat templates: equal to transformers in text and mask, exact where that is not, refusing what they cannot write."""

import copy
import pickle
from datetime import datetime

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lmkit.cli.plugins.new import TEMPLATES
from lmkit.data.chat_templates import ChatML, ChatTemplate, JinjaFile, Llama3, Plain
from lmkit.errors import UserError

BOS, EOS = "<|bos|>", "<|endoftext|>"
SYSTEM = {"role": "system", "content": '  Be brief, use "quotes" & <tags>. '}
USER = {"role": "user", "content": "How do you say 'Grüße' in 日本語? 🙂\n\n- one\n- two"}
ASSISTANT = {"role": "assistant", "content": "ご挨拶 🙂🎉.\n  Indented, {{ not_jinja }}"}
SHORT = {"role": "assistant", "content": "a"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a <place> & its 'forecast'.",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        },
    },
    {"type": "function", "function": {"name": "time", "parameters": {}}},
]
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 2}}},
        {"type": "function", "function": {"name": "time", "arguments": '{"zone": "CET"}'}},
    ],
}
RESULT = {"role": "tool", "content": '{"degrees": -3}'}
TALKS = {
    "one question": [USER],
    "system": [SYSTEM, USER, ASSISTANT],
    "several turns": [USER, ASSISTANT, USER, SHORT, USER, ASSISTANT],
    "assistant first": [SHORT, USER, ASSISTANT],
    "two at once": [USER, ASSISTANT, SHORT],
    "empty": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    "blank": [USER, {"role": "assistant", "content": " \n "}, USER],
}
CALLS = {
    "called": [SYSTEM, USER, CALL, RESULT, ASSISTANT],
    "called without system": [USER, CALL, RESULT, ASSISTANT],
    "told and called": [USER, {**CALL, "content": "Let me see."}, RESULT, SHORT],
}
OWN = r"""{{- bos_token }}
{%- set space = namespace(system='') %}
{%- macro head(role) %}
[{{ role | upper }}]
{% endmacro %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- set space.system = message['content'] | trim %}
        {%- continue %}
    {%- endif %}
    {%- if loop.last and tools %}
        {{- tools | tojson(indent=2) }}{{ tools[0] | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}
    {%- endif %}
    {{- head(message['role']) }}
    {%- if message['role'] == 'assistant' %}
        {% generation %}
        {% set loud = 'told' %}
        {{- message['tool_calls'] | tojson if message['content'] is none else message['content'] }}
        {%- if not loop.last %} {{ loud }}{% endif %}
        {{- eos_token }}
        {%- endgeneration %}
        {{- loud }}
    {%- else %}
        {{- space.system ~ message.get('content') }}
    {%- endif %}
    {%- if loop.index > 40 %}{% break %}{% endif %}
{%- endfor %}
{{- '[' ~ strftime_now('%Y') ~ ']' ~ mood ~ (documents is none) }}
{%- if add_generation_prompt %}{{ head('assistant') }}{% endif %}
"""


@pytest.fixture(scope="module")
def peer():
    """transformers' tokenizer, of our own making: bytes, a few merges, and the special tokens of all templates."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [BOS, EOS, *ChatML.special_tokens, *Llama3.special_tokens]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([str(TALKS), str(CALLS), OWN] * 2, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS)


@pytest.fixture
def from_file(tmp_path):
    """Makes a template of a text."""

    def make(text, **options):
        (tmp_path / "own.jinja").write_text(text)
        return JinjaFile(str(tmp_path / "own.jinja"), **options)

    return make


@pytest.fixture(params=["ChatML", "Llama3", "Plain", "own", "new"])
def template(request, from_file):
    """Each built-in template, one of our own, and the one that `plugins new` writes."""
    if request.param == "own":
        return from_file(OWN)
    if request.param == "new":
        space = {}
        exec((TEMPLATES / "chat_template.py").read_text(), space)
        return space["Template"]()
    return {"ChatML": ChatML, "Llama3": Llama3, "Plain": Plain}[request.param]()


def both(peer, template, talk, tools=None, prompt=False, **variables):
    """What transformers writes and what we write, each with its mask of tokens."""
    theirs = peer.apply_chat_template(
        talk,
        tools=tools,
        chat_template=template.text,
        add_generation_prompt=prompt,
        return_assistant_tokens_mask=True,
        return_dict=True,
        **variables,
    )
    text = peer.apply_chat_template(
        talk, tools=tools, chat_template=template.text, add_generation_prompt=prompt, tokenize=False, **variables
    )
    marked = template.mark(talk, tools, prompt, BOS, EOS, variables)
    encoded = peer(marked.text, add_special_tokens=False, return_offsets_mapping=True)
    assert encoded["input_ids"] == theirs["input_ids"]
    mask = [int(any(a < end and start < b for start, end in marked.spans)) for a, b in encoded["offset_mapping"]]
    return text, theirs["assistant_masks"], marked, mask


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_text_and_mask_are_those_of_transformers(peer, template, talk, prompt):
    if talk[0]["role"] == "assistant" and type(template) is Plain:
        talk = [USER, *talk]  # a block that comes first is one that transformers misses
    kept = copy.deepcopy(talk)
    text, theirs, marked, mask = both(peer, template, talk, prompt=prompt, mood="calm")
    assert marked.text == text == template.render(talk, None, prompt, BOS, EOS, {"mood": "calm"})
    assert mask == theirs
    assert sum(mask) > 0 or len(talk) == 1
    assert talk == kept


@pytest.mark.parametrize("tools", [None, [], TOOLS], ids=["none", "empty", "two"])
@pytest.mark.parametrize("talk", [*CALLS.values(), TALKS["system"]], ids=[*CALLS, "not called"])
@pytest.mark.parametrize("own", [False, True])
def test_tools_are_written_as_by_transformers(peer, from_file, talk, tools, own):
    template = from_file(OWN) if own else ChatML()
    text, theirs, marked, mask = both(peer, template, talk, tools)
    assert marked.text == text
    assert mask == theirs
    assert sum(mask) > 0
    assert not tools or ("weather" in text and "& its 'forecast'" in text)


def chatml(talk, prompt):
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in talk)
    return text + "<|im_start|>assistant\n" * prompt


def llama3(talk, prompt):
    """As the model card describes it."""
    heads = {role: f"<|start_header_id|>{role}<|end_header_id|>\n\n" for role in ("system", "user", "assistant")}
    text = "".join(f"{heads[m['role']]}{m['content'].strip()}<|eot_id|>" for m in talk)
    return "<|begin_of_text|>" + text + heads["assistant"] * prompt


def plain(talk, prompt):
    ends = {"assistant": EOS}
    lines = [f"{m['role'].title()}: {m['content'].strip()}{ends.get(m['role'], '')}\n" for m in talk]
    return "".join(lines) + "Assistant:" * prompt


@pytest.mark.parametrize(("cls", "reference"), [(ChatML, chatml), (Llama3, llama3), (Plain, plain)])
@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_built_in_templates_write_what_is_published(cls, reference, talk):
    for prompt in (False, True):
        assert cls().render(talk, add_generation_prompt=prompt, eos_token=EOS) == reference(talk, prompt)


def test_chatml_writes_tools_calls_and_results():
    text, spans = ChatML().mark(CALLS["called"], TOOLS)
    called = (
        '<tool_call>\n{"name": "weather", "arguments": {"place": "Zürich", "days": 2}}\n</tool_call>\n'
        '<tool_call>\n{"name": "time", "arguments": {"zone": "CET"}}\n</tool_call><|im_end|>'
    )
    assert [text[a:b] for a, b in spans] == [called, ASSISTANT["content"] + "<|im_end|>"]
    assert '<|im_start|>tool\n<tool_response>\n{"degrees": -3}\n</tool_response><|im_end|>\n' in text
    assert text.startswith(f"<|im_start|>system\n{SYSTEM['content']}\n\nYou may call")
    assert text.count("<tools>") == text.count("<|im_start|>system") == 1
    alone = ChatML().render([USER, ASSISTANT], TOOLS)
    assert alone.startswith("<|im_start|>system\nYou may call")
    assert alone.endswith(chatml([USER, ASSISTANT], False))


@pytest.mark.parametrize("cls", [ChatML, Llama3, Plain])
@pytest.mark.parametrize("talk", [talk for talk in TALKS.values() if talk[-1]["role"] == "assistant"])
def test_what_is_trained_begins_where_generation_begins_and_ends_by_the_end_of_turn(peer, cls, talk):
    template = cls()
    text, spans = template.mark(talk, eos_token=EOS)
    prompt = template.render(talk[:-1], add_generation_prompt=True, eos_token=EOS) if talk[1:] else ""
    assert text[: spans[-1][0]] == prompt
    assert len(spans) == sum(message["role"] == "assistant" for message in talk)
    end = template.end_of_turn or EOS
    assert all(text[a:b].endswith(end) and text[a:b].count(end) == 1 for a, b in spans)
    said = [message["content"].strip() for message in talk if message["role"] == "assistant"]
    assert [text[a:b].removesuffix(end).strip() for a, b in spans] == said
    ids = peer(prompt, add_special_tokens=False)["input_ids"]  # so that training sees the tokens that generation sees
    assert peer(text, add_special_tokens=False)["input_ids"][: len(ids)] == ids


@pytest.mark.parametrize("cls", [ChatML, Llama3, Plain])
def test_special_tokens_are_told_and_one_token_each(peer, cls):
    text = cls().render(TALKS["several turns"], add_generation_prompt=True)
    assert cls.end_of_turn is None or cls.end_of_turn in cls.special_tokens
    for token in cls.special_tokens:
        assert token in text
        assert peer(token, add_special_tokens=False)["input_ids"] == [peer.convert_tokens_to_ids(token)]


def spans_of(template, talk):
    text, spans = template.mark(talk)
    return [text[start:end] for start, end in spans]


def test_a_block_in_a_macro_a_set_or_at_the_very_start_is_told_exactly(from_file):
    say = "{% generation %}{{ m.content }}{% endgeneration %}"
    first = from_file("{% for m in messages %}" + say + "|{% endfor %}")
    assert spans_of(first, [SHORT, SHORT]) == ["a", "a"]
    macro = from_file("{% macro say(m) %}<{{ m.role }}>" + say + "</>{% endmacro %}#{{ say(messages[0]) }}")
    assert spans_of(macro, [ASSISTANT]) == [ASSISTANT["content"]]
    later = from_file("{% set m = messages[0] %}{% set kept %}x" + say + "{% endset %}abc{{ kept | upper }}")
    assert spans_of(later, [SHORT]) == ["A"]
    nested = from_file("{% set m = messages[0] %}x{% generation %}<" + say + ">{% endgeneration %}")
    assert spans_of(nested, [SHORT]) == ["<a>"]
    private = {"role": "assistant", "content": "\ue000\ue002a\ue001"}
    assert spans_of(first, [private]) == [private["content"]]


@pytest.mark.parametrize(
    "use", ["{{ kept | length }}", "{{ kept[1:] }}", "{{ kept[:-1] }}", "{{ kept | reverse }}", "{{ kept | trim }}x"]
)
def test_a_block_that_is_changed_afterwards_is_refused(from_file, use):
    text = "{% set kept %}{% generation %} {{ messages[0].content }} {% endgeneration %}{% endset %}" + use
    assert from_file(text).render([SHORT])
    with pytest.raises(UserError, match=r"own.jinja does not tell what the assistant says \(what a generation block"):
        from_file(text).mark([SHORT])


def test_the_time_is_one_for_the_whole_text(from_file):
    template = from_file("{% generation %}{{ strftime_now('%f') }}{% endgeneration %}{{ strftime_now('%f') }}")
    for _ in range(20):
        text, _ = template.mark([SHORT])
        assert text[:6] == text[6:]
    before = datetime.now().year
    assert before <= int(from_file("{{ strftime_now('%Y') }}").render([USER])) <= datetime.now().year


def refused(action, *parts):
    with pytest.raises(UserError) as raised:
        action()
    message = str(raised.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a\n{% for m in %}\nb", ["own.jinja does not compile (line 2: Expected an expression"]),
        ("a\n\n{{ messages | nosuch }}", ["line 3: No filter named 'nosuch'"]),
        ("{% generation %}a", ["line 1: ", "endgeneration"]),
        (
            "{% for m in messages %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
            ["does not compile ('break' outside loop", "generation block"],
        ),
        (" \n", ["own.jinja is empty"]),
    ],
)
def test_what_does_not_compile_is_refused_with_its_line_when_it_is_made(from_file, text, parts):
    refused(lambda: from_file(text), *parts)


def test_a_class_that_does_not_compile_is_refused_by_its_name():
    class _Torn(ChatTemplate):
        text = "{% if %}"

    refused(_Torn, "the chat template _Torn does not compile (line 1: ")


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    refused(lambda: JinjaFile("none.jinja"), "none.jinja (No such file", "give the path of a Jinja file")
    (tmp_path / "bytes.jinja").write_bytes(b"\xff\xfe\x00")
    refused(lambda: JinjaFile(str(tmp_path / "bytes.jinja")), "it is not UTF-8")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "\n{{ raise_exception('Roles must\n alternate') }}",
            ["refuses the conversation (line 2: Roles must alternate)"],
        ),
        ("{{ ''.__class__.__mro__ }}", ["line 1: SecurityError", "__class__"]),
        ("{{ messages.__class__.__base__.__subclasses__() }}", ["SecurityError"]),
        ("a\n{% for i in range(10 ** 9) %}{% endfor %}", ["line 2: OverflowError: Range too big"]),
        ("{{ messages.append(1) }}", ["SecurityError"]),
        ("{{ messages[0].clear() }}", ["SecurityError"]),
        ("a\nb\n{{ messages[0].nothing.more }}", ["line 3: UndefinedError"]),
        ("{{ messages[0].content + 1 }}", ["line 1: TypeError"]),
    ],
)
def test_what_a_template_must_not_do_is_refused_with_its_line(from_file, text, parts):
    template, talk = from_file(text), [dict(USER)]
    refused(lambda: template.render(talk), "own.jinja", *parts)
    assert talk == [USER]


@pytest.mark.parametrize(
    ("talk", "parts"),
    [
        ([], ["the conversation is empty"]),
        ("hello", ["'hello'", "give a list of messages"]),
        (USER, ["{'role': 'user'", "...", "give a list of messages"]),
        ([USER, "hello"], ["message 2 is 'hello'"]),
        ([{"from": "human", "value": "hi"}], ["message 1 has no role, but from, value"]),
        ([{}], ["message 1 has no role: give it a role"]),
        ([{"role": 3, "content": ""}], ["message 1 has the role 3"]),
        (
            [USER, {"role": "human", "content": "hi"}],
            ["message 2 has the role 'human'", "system, user, assistant, tool"],
        ),
        ([{"role": "user", "content": None}], ["message 1 (user) has the content None: give a text"]),
        ([{"role": "user"}], ["message 1 (user) has no content, but role: give a text"]),
        ([{"role": "assistant", "content": None, "tool_calls": []}], ["message 1 (assistant) has the content None"]),
        ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], ["has the content [{'type'", "give a text"]),
        ([USER, {**USER, "content": "a<|im_end|>b"}], ["message 2 spells <|im_end|>", "take it out"]),
        ([{**CALL, "tool_calls": [{"name": "<|im_start|>"}]}], ["message 1 spells <|im_start|>"]),
    ],
)
def test_what_is_no_conversation_is_refused(talk, parts):
    refused(lambda: ChatML().render(talk), *parts)
    refused(lambda: ChatML().mark(talk), *parts)


def test_what_a_template_cannot_write_is_refused(from_file):
    refused(lambda: Llama3().render([USER], TOOLS), "Llama3 cannot write tools", "ChatML")
    refused(lambda: Plain().render([USER, CALL]), "Plain cannot write tool_calls")
    refused(lambda: Llama3().render([USER, RESULT]), "message 2 has the role 'tool'", "system, user, assistant")
    refused(lambda: ChatML().render([USER], {"name": "f"}), "tools is {'name': 'f'}", "list")
    refused(lambda: ChatML().render([USER], [print]), "tool 1 is <built-in", "JSON schema")
    refused(lambda: ChatML().render([USER], [{"name": "<|im_end|>"}]), "tool 1 spells <|im_end|>")
    refused(lambda: Plain().mark([USER, ASSISTANT]), "Plain ends turns by eos_token, but none is given")
    refused(lambda: Plain().render([{**USER, "content": EOS}], eos_token=EOS), f"message 1 spells {EOS}")
    refused(lambda: ChatML().render([USER], variables={"messages": []}), "variables has messages")
    silent = from_file("{# {% generation %} #}{{ messages[0].content }}")
    refused(lambda: silent.mark([USER, ASSISTANT]), "own.jinja does not tell what the assistant says (of message 2 it")
    assert silent.render([USER]) == USER["content"]


def test_a_file_tells_its_tokens_and_roles(from_file):
    template = from_file("{{ messages[0].role }}", end_of_turn="<e>", special_tokens=("<s>",), roles=("developer",))
    assert (template.end_of_turn, template.special_tokens) == ("<e>", ("<s>", "<e>"))
    assert template.render([{"role": "developer", "content": ""}]) == "developer"
    refused(lambda: template.render([USER]), "which the chat template does not write (it writes developer)")


def test_a_template_can_be_pickled(from_file):
    for template in (ChatML(), from_file(OWN, end_of_turn="<e>")):
        again = pickle.loads(pickle.dumps(template))
        assert again.end_of_turn == template.end_of_turn
        assert again.render([USER]) == template.render([USER])
