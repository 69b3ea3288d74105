"""What is learned of answers in several pieces, or in none, and of answers that a template changes afterwards."""

import json
import re
import warnings

import pytest

from lmkit.data.chat import Chat
from lmkit.data.chat_templates import JinjaFile
from lmkit.data.preferences import Preferences
from lmkit.errors import UserError

SAID = "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
HEAD = "{% for m in messages %}[{{ m.role }}]"
FOOT = "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
USER = "{% if m.role != 'assistant' %}{{ m.content }}{% else %}"
CALLED = "({{ m.tool_calls[0].function.name }})"
TWO = HEAD + USER + "{% if m.tool_calls %}{% generation %}" + CALLED + "{% endgeneration %} {% endif %}" + SAID
TWO += "{% endif %}" + FOOT
NONE = (
    HEAD
    + USER
    + "{% if m.tool_calls %}"
    + CALLED
    + "{{ eos_token }}{% else %}"
    + SAID
    + "{% endif %}{% endif %}"
    + FOOT
)

QWEN = """{%- set ns = namespace(last=-1) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' %}
{%- set parts = m.content.split('</think>') %}
{%- set thought = m.reasoning_content or (parts[0].split('<think>')[-1].strip() if parts | length > 1 else '') %}
{%- if loop.index0 > ns.last and (loop.last or thought) %}{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}{% endif %}
{{- parts[-1].lstrip() }}
{%- else %}{{ m.content }}{% endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
"""Qwen 3's, reduced."""

OPEN = QWEN.replace(
    "{{ '<|im_start|>assistant\\n' }}{% endif %}", "{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"
)
SHUT = OPEN.replace("assistant\\n<think>\\n'", "assistant\\n<think>\\n\\n</think>\\n\\n'")
BARE = re.sub(
    r"\{%- if loop.index0 > ns.last.*\n", "", OPEN
)  # which writes thoughts nowhere but at the end of a prompt


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def template(tmp_path):
    def make(text, **options):
        (tmp_path / "t.jinja").write_text(text)
        return JinjaFile(str(tmp_path / "t.jinja"), **options)

    return make


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def calls(content):
    return assistant(content, tool_calls=[{"function": {"name": "look", "arguments": {}}}])


FIRST = [user("ask"), calls("well"), {"role": "tool", "content": "found"}]


def opened(cls, folder, rows, template, **options):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    usual = {"validation_fraction": 0.3, "context": 512, "batch_size": 2, "template": template}
    data = cls(str(path), **{**usual, **options})
    data.prepare_data()
    data.setup("fit")
    return data


def learned(data):
    """What is learned of each example, piece by piece."""
    stores = (data.train, data.validation)
    return {
        tuple(data.tokenizer.decode(piece.ids[piece.trained].tolist(), skip_special_tokens=False) for piece in store[n])
        for store in stores
        for n in range(len(store))
    }


@pytest.mark.parametrize("text", [TWO, NONE])
def test_of_a_pair_the_answers_are_learned_and_nothing_of_the_prompt(tmp_path, template, text):
    prompts = [[user(f"{n}"), *FIRST[1:]] for n in range(20)]
    rows = [{"prompt": prompt, "chosen": "yes", "rejected": "never"} for prompt in prompts]
    data = opened(Preferences, tmp_path, rows, template(text))
    end = "<|endoftext|>"
    assert learned(data) == {("", f"yes{end}", f"never{end}")}
    assert data.train.facts["bytes"] == len(data.train) * len("yesnever")
    assert not data.train.facts["faults"]


@pytest.mark.parametrize(("text", "said"), [(TWO, "(look)well<|endoftext|>"), (NONE, "more<|endoftext|>")])
def test_of_the_last_turn_all_is_learned(tmp_path, template, text, said):
    more = [] if text == TWO else [{"role": "tool", "content": "found"}, assistant("more")]
    rows = [{"messages": [user(f"{n}"), assistant("first"), user("and"), calls("well"), *more]} for n in range(20)]
    data = opened(Chat, tmp_path, rows, template(text), train_on="last")
    assert learned(data) == {(said,)}
    assert data.train.facts["bytes"] == len(data.train) * len(said.removesuffix("<|endoftext|>"))


@pytest.mark.parametrize(("text", "end"), [(TWO, None), (QWEN, "<|im_end|>")])
@pytest.mark.parametrize("train_on", ["assistant", "last"])
def test_an_answer_of_no_weight_is_not_learned(tmp_path, template, text, end, train_on):
    def rows(first, last):
        talk = [("one", first), ("two", 1), ("three", last)]
        said = [message for answer, weight in talk for message in (user("and"), assistant(answer, weight=weight))]
        return [{"messages": [user(f"{n}"), assistant("yes"), *said]} for n in range(20)]

    def found(number, *weights):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        (said,) = learned(opened(Chat, folder, rows(*weights), template(text, end_of_turn=end), train_on=train_on))
        return [word for word in ("yes", "one", "two", "three") if word in said[0]]

    everything = ["yes", "one", "two", "three"] if train_on == "assistant" else ["three"]
    assert found(1, 1, None) == everything
    assert found(2, 0, 1) == [word for word in everything if word != "one"]
    if train_on == "assistant":
        assert found(3, 0, 0) == ["yes", "two"]
    else:
        with pytest.raises(UserError, match="nothing of the conversation is learned"):
            found(3, 1, 0)


def marked(template, talk):
    text, spans = template.mark(talk)
    return [text[start:end] for start, end in spans]


@pytest.mark.parametrize("text", [QWEN, OPEN, SHUT])
def test_answers_that_lose_an_empty_thought_are_found(template, text):
    made = template(text, end_of_turn="<|im_end|>")
    (said,) = marked(made, [user("a"), assistant("one")])
    assert said == {QWEN: "<think>\n\n</think>\n\none", OPEN: "\n</think>\n\none", SHUT: "one"}[text] + "<|im_end|>"
    assert marked(made, [user("a"), assistant("one"), user("b"), assistant("two")]) == [
        "one<|im_end|>",
        said.replace("one", "two"),
    ]


def test_a_template_that_does_not_end_answers_by_its_token_is_warned_of(tmp_path, template):
    rows = [{"messages": [user(f"{n}"), assistant("one")]} for n in range(20)]
    text = HEAD + USER + "{% generation %}{{ m.content }}<|end|>{% endgeneration %}{% endif %}" + FOOT
    with pytest.warns(UserWarning, match=r"does not end .* by <\|endoftext\|>, .* by data.template.end_of_turn"):
        opened(Chat, tmp_path, rows, template(text, special_tokens=("<|end|>",)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learned(opened(Chat, tmp_path, rows, template(text, end_of_turn="<|end|>"))) == {("one<|end|>",)}


def test_a_token_behind_the_whole_conversation_is_no_part_of_it(template):
    text = (
        HEAD + "{{ m.content }}<|end|>" + FOOT.replace("{% endif %}", "{% else %}{{ eos_token }}{% endif %}")
    )  # Phi 3's
    made = template(text, end_of_turn="<|end|>")
    text, spans = made.mark([user("a"), assistant("one"), user("b"), assistant("two")], eos_token="[as it ends]")
    assert [text[start:end] for start, end in spans] == ["one<|end|>", "two<|end|>"]


def test_a_prompt_that_opens_a_thought_is_answered_where_the_conversation_goes_on(template):
    made = template(BARE, end_of_turn="<|im_end|>")
    talk = [user("a"), assistant("<t one"), user("b"), assistant("two")]
    assert marked(made, talk) == ["<t one<|im_end|>", "two<|im_end|>"]


@pytest.mark.parametrize(
    "said", [{"content": "<think>\nhm\n</think>\n\none"}, {"content": "one", "reasoning_content": "hm"}]
)
def test_answers_that_lose_their_thoughts_are_not_learned(tmp_path, template, said):
    made = template(QWEN, end_of_turn="<|im_end|>")
    thinks = {"role": "assistant", **said}
    assert marked(made, [user("a"), thinks]) == ["<think>\nhm\n</think>\n\none<|im_end|>"]
    rows = [{"messages": [user(f"{n}"), thinks, user("b"), thinks, user("c"), thinks]} for n in range(20)]
    with pytest.warns(UserWarning, match="2[0-9] answers in train are not learned: the chat template changes them"):
        data = opened(Chat, tmp_path, rows, made)
    assert learned(data) == {("<think>\nhm\n</think>\n\none<|im_end|>",)}
    assert data.train.facts["rewritten"] + data.validation.facts["rewritten"] == 40
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learned(opened(Chat, tmp_path, rows, made, train_on="last")) == learned(data)
    whole = max(len(data.train[n][0].ids) for n in range(len(data.train)))
    with pytest.warns(UserWarning, match="1[0-9] answers in train are not learned"):
        cut = opened(Chat, tmp_path, rows, made, context=whole - 5)
    assert [cut.train.facts["cut"], cut.train.facts["rewritten"]] == [len(cut.train)] * 2  # of two


def test_pairs_whose_prompt_has_an_answer_are_read_by_such_a_template(tmp_path, template):
    made = template(QWEN, end_of_turn="<|im_end|>")
    for before in (assistant("one"), assistant("one", reasoning_content="hm")):
        prompts = [[user(f"{n}"), before, user("b")] for n in range(20)]
        rows = [{"prompt": prompt, "chosen": "yes", "rejected": "never"} for prompt in prompts]
        data = opened(Preferences, tmp_path, rows, made)
        empty = "<think>\n\n</think>\n\n"
        answers = {tuple("".join(piece) for piece in pieces) for pieces in learned(data)}
        assert {("", *(empty + text for text in ("yes<|im_end|>", "never<|im_end|>")))} == {
            ("", *(empty + text.removeprefix(empty) for text in pieces[1:])) for pieces in answers
        }
        prompt = data.chat.prompt(prompts[0])
        assert data.tokenizer.decode(prompt, skip_special_tokens=False).endswith("b<|im_end|>\n<|im_start|>assistant\n")


def test_pairs_whose_earlier_answers_change_are_told(tmp_path, template):
    text = (
        "{{ messages | length }}" + HEAD + "{% generation %}{{ m.content }}{{ messages | length }}{% endgeneration %}"
    )
    rows = [{"prompt": [user(f"{n}"), assistant("a"), user("b")], "chosen": "yes", "rejected": "no"} for n in range(9)]
    with pytest.raises(UserError, match="changes what the assistant says in the first 3 messages as more come"):
        opened(Preferences, tmp_path, rows, template(text + "{% endfor %}{{ eos_token }}"))
