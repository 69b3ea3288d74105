"""Rows that cannot be used: each fault with its row and its number, left out or the end of all."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from lmkit.data.chat_templates import ChatML, Llama3
from lmkit.data.conversations import (
    Conversation,
    Faults,
    Judged,
    Labelled,
    Preference,
    PromptCompletion,
    check_turns,
    read,
)
from lmkit.data.conversations.faults import MOST_REASONS, reason_of
from lmkit.data.rows import Row, RowFiles
from lmkit.errors import UserError


def talk(*said: tuple[str, str | None], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in said], **more}


def messages(*said: tuple[str, str | None]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = talk(*said)["messages"]
    return found


U, A, S, T = ("user", "Hi"), ("assistant", "Yes"), ("system", "Be short."), ("tool", "3")
NO, SO = ("assistant", "No"), ("user", "So?")
GOOD = talk(U, A)
PAIR = {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}
JUDGED = {"prompt": "2 + 2?", "completion": "4", "label": True}
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
WEIGHED = {"messages": [*talk(U)["messages"], {"role": "assistant", "content": "Yes", "weight": 0.5}]}

BROKEN: list[tuple[type, dict[str, Any] | str, str]] = [
    (Conversation, talk(A, U), "message 1, the first but for the system's, is 'assistant': begin with the user"),
    (Conversation, talk(S, A), "message 2, the first but for the system's, is 'assistant': begin with the user"),
    (Conversation, talk(S, T, A), "message 2, the first but for the system's, is 'tool': begin with the user"),
    (Conversation, talk(U, ("assistant", " \n")), "message 2 (assistant) is empty: give it a text, or take it out"),
    (Conversation, talk(("user", ""), A), "message 1 (user) is empty: give it a text, or take it out"),
    (Conversation, talk(U, ("narrator", "So."), A), "message 2 has the role 'narrator': give one of system, user,"),
    (Conversation, talk(U, U, A), "messages 1 and 2 are both 'user': join them, or add what is lost"),
    (Conversation, talk(U, A, A), "messages 2 and 3 are both 'assistant': join them, or add what is lost"),
    (Conversation, talk(U, T, A), "message 2 is a tool's, after 'user': put the assistant's call before it"),
    (Conversation, talk(S, U), "the assistant says nothing, so that nothing is learned: add its answer"),
    (Conversation, WEIGHED, "message 2 has the weight 0.5: give 0, not to learn it, or 1"),
    (Conversation, talk(), "the conversation is empty: give at least one message"),
    (Conversation, talk(U, ("assistant", None)), "message 2 (assistant) has the content None: give a text"),
    (Conversation, {"messages": [{"role": "user"}]}, "message 1 (user) has no content, but role: give a text"),
    (Conversation, {"messages": [{"text": "Hi"}]}, "message 1 has no role, but text: give it a role"),
    (Conversation, {"messages": ["Hi"]}, "message 1 is 'Hi': give a mapping with a role and a content"),
    (Conversation, {"messages": "Hi"}, "messages is 'Hi': give a list of messages, each with a role and a content"),
    (Conversation, talk(U, A, tools="{"), "tools is '{', which is not JSON"),
    (Conversation, talk(U, A, tools=["weather"]), "tool 1 is 'weather': give its JSON schema, as a mapping"),
    (Conversation, talk(U, A, system=3), "system is 3: give a text"),
    (Conversation, {"id": 1, "text": "Hi"}, "it has no messages, but id, text: OpenAIMessages needs all of its keys"),
    (Conversation, '{"messages": [', "it is not JSON (Expecting value at character 15): mend or remove it"),
    (Preference, PAIR | {"rejected": "4"}, "chosen and rejected are equal: give two answers that differ"),
    (Preference, {"prompt": "2 + 2?", "chosen": "4"}, "it has no rejected, but prompt, chosen: PromptChosenRejected"),
    (Preference, PAIR | {"chosen": None}, "chosen is None: give a text, or a list of messages"),
    (Preference, PAIR | {"chosen": ""}, "of the prompt with chosen, message 2 (assistant) is empty: give it a text"),
    (Preference, PAIR | {"rejected": []}, "rejected has nothing beyond what both begin with: give an answer of"),
    (Preference, PAIR | {"prompt": " "}, "of the prompt with chosen, message 1 (user) is empty"),
    (Preference, PAIR | {"prompt": []}, "of the prompt with chosen, message 1, the first but for the system's, is"),
    (Preference, PAIR | {"chosen": messages(A, U)}, "chosen ends with 'user': let it end with the assistant"),
    (
        Preference,
        PAIR | {"prompt": messages(U, A, SO), "chosen": messages(S, SO, A), "rejected": messages(S, SO, NO)},
        "chosen or rejected begins with the user or the system, but not with the prompt: let both begin with",
    ),
    (
        Preference,
        PAIR | {"chosen": messages(U, A), "rejected": messages(U, NO)},
        "chosen or rejected begins with the user or the system, but not with the prompt: let both begin with",
    ),
    (
        Preference,
        {"prompt": "Hi", "chosen": messages(U, A, U, A), "rejected": messages(U, A, SO, A)},
        "chosen and rejected are answers to different prompts: let both begin with the same messages, up to",
    ),
    (
        Preference,
        {"prompt": "Hi", "chosen": messages(U, A), "rejected": messages(U, A, U, A)},
        "chosen has nothing beyond what both begin with: give an answer of its own",
    ),
    (Judged, JUDGED | {"label": "good"}, "label is 'good': give true or false"),
    (Judged, JUDGED | {"label": 0.5}, "label is 0.5: give true or false"),
    (Judged, JUDGED | {"completion": " "}, "of the prompt with completion, message 2 (assistant) is empty"),
    (Labelled, {"text": "", "label": 1}, "text is empty: give one, or take the row out"),
    (Labelled, {"text": None, "label": 1}, "text is None: give a text"),
    (Labelled, {"text": "Hi", "label": [1]}, "label is [1]: give a word or a whole number"),
    (Labelled, {"text": "Hi", "label": 0.5}, "label is 0.5: give a word or a whole number"),
]
SHARED_BROKEN = [
    ([{"from": "narrator", "value": "Hi"}], "message 1 is from 'narrator': give one of human, user, gpt"),
    ([{"from": "human"}], "message 1 has no value, but from: give it both"),
    (
        [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": "f(x)"}],
        "message 2, a function call, is 'f(x)'",
    ),
    (
        [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": "[]"}],
        "message 2, a function call, is an empty",
    ),
    (
        [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": "{}"}],
        "message 2, a function call, is {}: give",
    ),
    ([{"from": "human", "value": None}], "message 1 (human) is None: give a text"),
    ("Hi", "conversations is 'Hi': give a list of messages, each with a from and a value"),
    (["Hi"], "message 1 is 'Hi': give a mapping with a from and a value"),
]
SOUND = {Conversation: GOOD, Preference: PAIR, Judged: JUDGED, Labelled: {"text": "Hi", "label": 1}}


def written(folder: Path, *rows: Any) -> RowFiles:
    (folder / "a.jsonl").write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return RowFiles(str(folder / "a.jsonl"))


def is_told(folder: Path, kind: Any, sound: Any, broken: Any, said: str) -> None:
    source, faults = written(folder, sound, broken, sound, broken, broken), Faults()
    assert [row.where for row, _ in read(source, None, None, faults, kind)] == ["a.jsonl, row 1", "a.jsonl, row 3"]
    (line,) = faults.lines()
    assert line.startswith(f"3 rows left out, first a.jsonl, row 2: {said}")
    assert faults.rows == 3
    with pytest.raises(UserError) as caught:
        [*read(source, None, None, Faults(strict=True), kind)]
    assert str(caught.value).startswith(f"a.jsonl, row 2: {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "broken", "said"), BROKEN)
def test_each_fault_is_told_with_its_first_row_and_counted(tmp_path: Path, kind: Any, broken: Any, said: str) -> None:
    is_told(tmp_path, kind, SOUND[kind], broken, said)


@pytest.mark.parametrize(("broken", "said"), SHARED_BROKEN)
def test_so_is_each_of_share_gpt(tmp_path: Path, broken: Any, said: str) -> None:
    sound = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]
    is_told(tmp_path, Conversation, {"conversations": sound}, {"conversations": broken}, said)


@pytest.mark.parametrize(
    "allowed",
    [
        messages(S, U, A),
        messages(S, S, U, A, S, U),
        messages(U, A, U),
        messages(U, A, T, ("tool", ""), A),
        [*messages(U), CALLED, *messages(T, T, U, A)],
        [*messages(U), CALLED],
        [*messages(U, A, U), CALLED | {"content": ""}, *messages(T)],
    ],
)
def test_what_is_allowed_passes(allowed: list[dict[str, Any]]) -> None:
    check_turns(Conversation(tuple(allowed)))


def test_roles_are_those_of_the_template() -> None:
    found = Conversation(tuple(messages(("developer", "Be short."), U, A)))
    check_turns(found, ("developer", "user", "assistant"))
    with pytest.raises(UserError, match="message 1 has the role 'developer': give one of system, user"):
        check_turns(found)


def test_rows_that_do_not_fit_the_first_ones_format_are_faults(tmp_path: Path) -> None:
    source, faults = written(tmp_path, GOOD, {"prompt": "Hi", "completion": "Yes"}, GOOD), Faults()
    assert len([*read(source, None, None, faults, Conversation)]) == 2
    said = "it has no messages, but prompt, completion: OpenAIMessages needs all of its keys"
    assert faults.lines() == [f"1 row left out, a.jsonl, row 2: {said}"]


def test_faults_are_counted_by_reason_and_the_most_frequent_is_told_first(tmp_path: Path) -> None:
    rows: list[Any] = [GOOD, talk(U, U, A), talk(U, ("judge", "a")), talk(U, A, U, U), talk(U, A, ("it's", "b"))]
    rows += [talk(U), talk(U, A, U, A, U, U), "{", '{"']
    faults = Faults()
    assert len([*read(written(tmp_path, *rows), None, None, faults, Conversation)]) == 1
    told = [(fault.rows, fault.where.removeprefix("a.jsonl, row ")) for fault in faults.found.values()]
    assert told == [(3, "2"), (2, "3"), (1, "6"), (1, "8"), (1, "9")]
    assert [line.split(":")[0] for line in faults.lines()][:3] == [
        "3 rows left out, first a.jsonl, row 2",
        "2 rows left out, first a.jsonl, row 3",
        "1 row left out, a.jsonl, row 6",
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("message 3 has the role 'x': give one", 'message 12 has the role "it\'s": give one', True),
        (
            "message 2 has the content [{'a': 1, 'b...: give a text",
            "message 2 has the content {'x': '...: give a text",
            True,
        ),
        ("message 2 has the content 3: give a text", "message 2 has no content: give a text", False),
        ("the tokenizer's text is 'a' and 'b\\'c'", "the tokenizer's text is 'd' and 'e'", True),
        ("it is 1,024.5 tokens of 512", "it is 3 tokens of 100", True),
        ("line 3: TemplateError: no", "line 4: TemplateError: no", True),
        ("Llama3 refuses", "Llama2 refuses", False),
        ("message 2 (user) is empty", "message 2 (assistant) is empty", False),
    ],
)
def test_a_reason_names_no_figure_of_the_row(one: str, other: str, same: bool) -> None:
    assert (reason_of(one) == reason_of(other)) is same


def test_what_an_encoder_refuses_is_a_fault_of_the_row(tmp_path: Path) -> None:
    rows = [talk(U, A), talk(U, ("assistant", "<|im_end|>")), talk(U, A), talk(U, ("assistant", "<|im_end|>!"))]
    faults, texts = Faults(), []
    for row, found in read(written(tmp_path, *rows), None, None, faults, Conversation):
        with faults.row(row):
            texts.append(ChatML().render(found.messages))
    assert len(texts) == 2
    assert [(fault.rows, fault.where) for fault in faults.found.values()] == [(2, "a.jsonl, row 2")]
    with (
        pytest.raises(UserError, match=r"^a.jsonl, row 9: the chat template Llama3 cannot write tools"),
        Faults(strict=True).row(Row({}, "a.jsonl, row 9")),
    ):
        Llama3().render(messages(U, A), [{"name": "f"}])
    with pytest.raises(ZeroDivisionError), Faults().row(Row({}, "a")):
        raise ZeroDivisionError  # a defect, which no row is to blame for


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    source = written(tmp_path, talk(A), talk(A), talk(U))
    with pytest.raises(UserError) as caught:
        [*read(source, None, None, Faults(), Conversation)]
    assert str(caught.value).startswith(f"no row of {source} is left: 2 rows left out, first a.jsonl, row 1: message 1")
    with pytest.raises(UserError, match=r"left: 3 rows left out, first a.jsonl, row 1: it has no prompt and no compl"):
        [*read(source, PromptCompletion(), None, Faults(), Conversation)]
    with pytest.raises(UserError, match=r"a.jsonl has no rows: give a source with some"):
        [*read(written(tmp_path), None, None, Faults(), Conversation)]
    Faults().check_left(1, source)


def test_reasons_are_bounded_and_counts_travel() -> None:
    faults = Faults()
    for number in range(2 * MOST_REASONS):
        faults.add(f"a, row {number}", f"reason {'x' * number} is one")
    assert len(faults.found) == MOST_REASONS + 1
    assert faults.rows == 2 * MOST_REASONS
    assert faults.lines()[0] == f"{MOST_REASONS} rows left out, first a, row {MOST_REASONS}: reason {'x' * 100} is one"
    assert faults.lines()[10] == "91 rows left out for 91 reasons that are less frequent"
    assert faults.lines()[11] == f"{faults.rows} rows left out in all (data.strict stops at the first)"
    assert pickle.loads(pickle.dumps(faults)) == faults
