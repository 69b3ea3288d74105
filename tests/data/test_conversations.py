"""Rows of each format as conversations, preferences, judged completions and labelled texts."""

import json
from pathlib import Path
from typing import Any

import pytest

from lmkit.data.chat_templates import ChatML
from lmkit.data.conversations import (
    Alpaca,
    ChosenRejected,
    Conversation,
    Faults,
    Judged,
    Labelled,
    OpenAIMessages,
    Preference,
    PromptChosenRejected,
    PromptCompletion,
    PromptCompletionLabel,
    RowFormat,
    ShareGPT,
    TextLabel,
    find_format,
    read,
)
from lmkit.data.conversations.finding import FORMATS
from lmkit.data.conversations.reading import LOOKED
from lmkit.data.rows import RowFiles
from lmkit.errors import UserError


def user(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def assistant(content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


SYSTEM = {"role": "system", "content": "Be short."}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Rome"}}}
RESULT = {"role": "tool", "content": "33 degrees"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
LONG = [SYSTEM, user("Hi", name="Ada"), assistant("Hello."), user("Rome?"), assistant(None, tool_calls=[CALL]), RESULT]
LONG += [assistant("Hot.", reasoning_content="33 is much.")]
SHARED = [
    {"from": "system", "value": "Be short."},
    {"from": "human", "value": "Rome?"},
    {"from": "function_call", "value": '{"name": "weather", "arguments": {"place": "Rome"}}'},
    {"from": "observation", "value": "33 degrees"},
    {"from": "gpt", "value": "Hot."},
]
ROME = (SYSTEM, user("Rome?"), assistant(None, tool_calls=[CALL]), RESULT, assistant("Hot."))
PAIR = {"chosen": [user("2 + 2?"), assistant("4")], "rejected": [user("2 + 2?"), assistant("5")]}
SUM = Preference((user("2 + 2?"),), (assistant("4"),), (assistant("5"),))
HH = [user("Hi"), assistant("Hello."), user("2 + 2?")]
PARTS = [{"type": "text", "text": "2 "}, {"type": "text", "text": "+ 2"}]

CASES: list[tuple[type[RowFormat], dict[str, Any], Any]] = [
    (OpenAIMessages, {"messages": LONG, "tools": [TOOL], "id": 3}, Conversation(tuple(LONG), [TOOL])),
    (OpenAIMessages, {"messages": LONG, "tools": json.dumps([TOOL])}, Conversation(tuple(LONG), [TOOL])),
    (OpenAIMessages, {"conversation": LONG, "tools": None}, Conversation(tuple(LONG))),
    (OpenAIMessages, {"conversations": LONG, "tools": ""}, Conversation(tuple(LONG))),
    (
        OpenAIMessages,
        {"messages": [user("Hi", name=None), assistant("Yes", tool_calls=None)], "system": "Be short."},
        Conversation((SYSTEM, user("Hi"), assistant("Yes"))),
    ),
    (OpenAIMessages, {"messages": [{"role": "user", "content": PARTS}]}, Conversation((user("2 + 2"),))),
    (ShareGPT, {"conversations": SHARED, "source": "a"}, Conversation(ROME)),
    (ShareGPT, {"conversation": SHARED[1:], "system": "Be short.", "tools": "[]"}, Conversation(ROME)),
    (ShareGPT, {"messages": [{"from": "user", "value": "Hi", "weight": 1}]}, Conversation((user("Hi", weight=1),))),
    (
        Alpaca,
        {"instruction": "Add.", "input": "2, 2", "output": "4"},
        Conversation((user("Add.\n\n2, 2"), assistant("4"))),
    ),
    (Alpaca, {"instruction": "Hi", "input": "", "output": "Yes"}, Conversation((user("Hi"), assistant("Yes")))),
    (
        Alpaca,
        {"instruction": "Hi", "output": "Yes", "system": "Be short.", "text": "All."},
        Conversation((SYSTEM, user("Hi"), assistant("Yes"))),
    ),
    (PromptCompletion, {"prompt": "2 + 2?", "completion": " 4"}, Conversation((user("2 + 2?"), assistant(" 4")))),
    (
        PromptCompletion,
        {"prompt": LONG[:4], "completion": LONG[4:], "tools": [TOOL]},
        Conversation(tuple(LONG), [TOOL]),
    ),
    (PromptCompletion, {"prompt": [user("Hi")], "completion": "Yes"}, Conversation((user("Hi"), assistant("Yes")))),
    (PromptChosenRejected, {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}, SUM),
    (
        PromptChosenRejected,
        {"prompt": [user("2 + 2?")], "chosen": [assistant("4")], "rejected": assistant("5"), "tools": [TOOL]},
        SUM._replace(tools=[TOOL]),
    ),
    (PromptChosenRejected, {"prompt": "2 + 2?", **PAIR, "messages": PAIR["chosen"]}, SUM),  # UltraFeedback's
    (
        PromptChosenRejected,
        {"prompt": [user("2 + 2?")], **PAIR, "system": "Be short."},
        SUM._replace(prompt=(SYSTEM, *SUM.prompt)),
    ),
    (  # a prompt of which the answers repeat the last message only
        PromptChosenRejected,
        {"prompt": [SYSTEM, *HH], "chosen": [HH[-1], assistant("4")], "rejected": [HH[-1], assistant("5")]},
        SUM._replace(prompt=(SYSTEM, *HH)),
    ),
    (  # answers that repeat more than the prompt
        PromptChosenRejected,
        {"prompt": HH[-1:], "chosen": [*HH, assistant("4")], "rejected": [*HH, assistant("5")], "system": "Be short."},
        SUM._replace(prompt=(SYSTEM, *HH)),
    ),
    (ChosenRejected, PAIR | {"score_chosen": 9.0}, SUM),
    (
        ChosenRejected,
        {"chosen": [*HH, assistant("4")], "rejected": [*HH, assistant("5")]},
        SUM._replace(prompt=tuple(HH)),
    ),
    (
        PromptCompletionLabel,
        {"prompt": "2 + 2?", "completion": "4", "label": True},
        Judged((user("2 + 2?"),), (assistant("4"),), True),
    ),
    (
        PromptCompletionLabel,
        {"prompt": [user("2 + 2?")], "completion": [assistant("5")], "label": 0},
        Judged((user("2 + 2?"),), (assistant("5"),), False),
    ),
    (TextLabel, {"text": "Win!", "label": "spam", "id": 1}, Labelled("Win!", "spam")),
    (TextLabel, {"text": "Win!", "label": 2.0}, Labelled("Win!", 2)),
    (TextLabel, {"text": "Win!", "label": True}, Labelled("Win!", 1)),
]


@pytest.mark.parametrize(("cls", "values", "meant"), CASES)
def test_a_row_is_found_by_its_keys_and_read(cls: type[RowFormat], values: dict[str, Any], meant: Any) -> None:
    before = json.dumps(values)
    found = find_format(values, type(meant))
    assert type(found) is cls
    assert found(values) == meant
    assert type(found(values)) is type(meant)
    assert json.dumps(values) == before


def written(folder: Path, *rows: Any) -> RowFiles:
    (folder / "a.jsonl").write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return RowFiles(str(folder / "a.jsonl"))


LEARNED = [
    case for case in CASES if case[2] not in (Conversation((user("2 + 2"),)), Conversation((user("Hi", weight=1),)))
]


@pytest.mark.parametrize(("cls", "values", "meant"), LEARNED)
def test_a_file_of_such_rows_is_read(tmp_path: Path, cls: type[RowFormat], values: dict[str, Any], meant: Any) -> None:
    faults = Faults()
    found = [*read(written(tmp_path, values, values), None, None, faults, type(meant))]
    assert [(row.where, each) for row, each in found] == [("a.jsonl, row 1", meant), ("a.jsonl, row 2", meant)]
    assert faults.lines() == []
    named = [*read(written(tmp_path, values), cls(), {}, Faults(strict=True), type(meant))]
    assert [each for _, each in named] == [meant]


def test_parquet_and_json_lines_of_the_same_rows_mean_the_same(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"messages": LONG, "tools": json.dumps([TOOL])}, {"messages": LONG[:3], "tools": None}]
    (tmp_path / "parquet").mkdir()
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "parquet" / "a.parquet")
    sources = written(tmp_path, *rows), RowFiles(str(tmp_path / "parquet"))
    one, other = ([each for _, each in read(s, None, None, Faults(strict=True), Conversation)] for s in sources)
    assert one == other == [Conversation(tuple(LONG), [TOOL]), Conversation(tuple(LONG[:3]))]


def test_a_template_writes_what_was_read() -> None:
    talk = OpenAIMessages()({"messages": LONG, "tools": [TOOL]})
    shared = ShareGPT()({"conversations": SHARED})
    assert '{"name": "weather", "arguments": {"place": "Rome"}}' in ChatML().render(talk.messages, talk.tools)
    assert ChatML().render(shared.messages) == ChatML().render(ROME)


@pytest.mark.parametrize("cls", FORMATS)
def test_the_example_of_a_format_is_read_by_it(cls: type[RowFormat]) -> None:
    assert type(find_format(cls.row, cls.gives)) is cls
    lines = cls().example().splitlines()
    assert lines[0] == json.dumps(cls.row, ensure_ascii=False)
    assert f"is read as a {cls.gives.__name__}:" in lines


def test_keys_of_no_format_are_told_with_those_of_each(tmp_path: Path) -> None:
    said = (
        "a.jsonl, row 2: it has the keys question, answer, but a Conversation is read by OpenAIMessages (messages with"
        " role), ShareGPT (conversations with from), Alpaca (instruction, output), PromptCompletion (prompt,"
        " completion): give the format's names by columns, as {question: prompt}, or name a format"
    )
    faults = Faults()
    with pytest.raises(UserError) as caught:
        [*read(written(tmp_path, "{", {"question": "Hi", "answer": "Yes"}), None, None, faults, Conversation)]
    assert str(caught.value) == said
    assert faults.rows == 1
    with pytest.raises(UserError, match="has no keys, but a Labelled is read by TextLabel"):
        find_format({}, Labelled)
    with pytest.raises(UserError, match=r"has the keys conversation, but a Conversation is read by"):
        find_format({"conversation": [{"input": "Hi", "output": "Yes"}]}, Conversation)


def test_what_other_data_would_read_a_row_is_told() -> None:
    for cls, wanted, said in (
        (PromptChosenRejected, Conversation, "to read it as a Preference take data of Preferences, as recipes/dpo"),
        (PromptCompletionLabel, Preference, "as a Judged take data of Judgements, as recipes/kto.yaml does; else give"),
        (TextLabel, Judged, "as a Labelled take data of Labels, as recipes/classify.yaml does; else give"),
        (OpenAIMessages, Preference, "as a Conversation take data of Chat, as recipes/sft.yaml does"),
    ):
        with pytest.raises(UserError, match=said):
            find_format(cls.row, wanted)


def test_answers_that_are_good_or_bad_are_not_learned_all_alike() -> None:
    row = {"prompt": "2 + 2?", "completion": "5", "label": False}
    with pytest.raises(UserError, match=r"its label is False, .* take data of Judgements, .* format PromptCompletion$"):
        find_format(row, Conversation)
    assert isinstance(find_format(row, (Judged, Preference)), PromptCompletionLabel)
    assert isinstance(find_format({**row, "label": "sums"}, Conversation), PromptCompletion)


def test_odd_rows_before_the_first_of_a_format_are_faults(tmp_path: Path) -> None:
    odd, good = {"foo": 1}, {"messages": [user("Hi"), assistant("Yes")]}
    faults = Faults()
    source = written(tmp_path, "{", *[odd] * (LOOKED - 1), good, odd, good)
    found = [*read(source, None, None, faults, Conversation)]
    assert [row.where for row, _ in found] == [f"a.jsonl, row {LOOKED + number}" for number in (1, 3)]
    assert faults.rows == LOOKED + 1
    assert any(f"{LOOKED} rows left out, first a.jsonl, row 2: " in line for line in faults.lines())
    with pytest.raises(UserError, match="row 2: it has"):
        [*read(written(tmp_path, good, odd), None, None, Faults(strict=True), Conversation)]
    with pytest.raises(UserError, match="row 1: "):
        [*read(written(tmp_path, odd, good), None, None, Faults(strict=True), Conversation)]
    with pytest.raises(UserError, match="row 1: it has the keys foo, but a Conversation is read by"):
        [*read(written(tmp_path, *[odd] * LOOKED, good), None, None, Faults(), Conversation)]


def test_columns_mend_names_that_differ(tmp_path: Path) -> None:
    one = {"question": "Hi", "answer": "Yes", "prompt": 3, "id": 1, "said": "Be short."}
    source = written(tmp_path, one, {"question": "Hi", "answer": "No"})
    columns = {"question": "prompt", "answer": "completion", "said": "system"}
    assert [each for _, each in read(source, None, columns, Faults(strict=True), Conversation)] == [
        Conversation((SYSTEM, user("Hi"), assistant("Yes"))),
        Conversation((user("Hi"), assistant("No"))),
    ]


@pytest.mark.parametrize(
    ("columns", "format", "said"),
    [
        ({"question": "promt"}, None, "question the name promt, which no format of a Conversation reads: give one of"),
        ({"question": "input"}, PromptCompletion(), "question the name input, which PromptCompletion does not read"),
        ({"a": "prompt", "b": "prompt"}, None, "columns is {'a': 'prompt', 'b': 'prompt'}: give each name once only"),
        ({"sytem": "system"}, None, "columns has sytem, but no row does: give names that the rows have"),
        ({}, TextLabel(), "TextLabel gives a Labelled, but a Conversation is needed: name one of OpenAIMessages, Sh"),
    ],
)
def test_columns_and_formats_that_do_not_fit_are_told(
    tmp_path: Path, columns: dict[str, str], format: RowFormat | None, said: str
) -> None:
    with pytest.raises(UserError) as caught:
        [*read(written(tmp_path, {"prompt": "Hi", "completion": "Yes"}), format, columns, Faults(), Conversation)]
    assert said in str(caught.value)
