"""TRL's reading of rows: what two conversations have in common, and ShareGPT's messages."""

import random
from typing import Any

import pytest

from lmkit.data.conversations import ChosenRejected, Conversation, Preference, PromptChosenRejected, ShareGPT

pytestmark = pytest.mark.slow  # trl takes seconds to import


@pytest.fixture(scope="module")
def utils() -> Any:
    pytest.importorskip("trl")
    return pytest.importorskip("trl.data_utils")


def talk(draw: random.Random, turns: int) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[turn % 2], "content": draw.choice("abc")} for turn in range(turns)]


def test_the_common_beginning_is_the_prompt(utils: Any) -> None:
    draw = random.Random(0)
    told = 0
    for _ in range(500):
        common = talk(draw, draw.choice([1, 3, 5]))
        answers = draw.sample("abcdef", 2)
        chosen, rejected = ([*common, {"role": "assistant", "content": answer}] for answer in answers)
        row = {"chosen": chosen, "rejected": rejected}
        peer = utils.extract_prompt(row)
        meant = Preference(*(tuple(peer[key]) for key in ("prompt", "chosen", "rejected")))
        assert ChosenRejected()(row) == meant
        assert PromptChosenRejected()(row | {"prompt": common[-1]["content"]}) == meant
        told += len(meant.prompt)
    assert told > 1000


def test_share_gpt_becomes_the_same_messages(utils: Any) -> None:
    draw = random.Random(0)
    for turns in (2, 3, 6):
        said = [{"from": message["role"], "value": message["content"]} for message in talk(draw, turns)]
        peer = utils.maybe_convert_to_chatml({"conversations": [dict(message) for message in said]})
        assert ShareGPT()({"conversations": said}) == Conversation(tuple(peer["messages"]))
