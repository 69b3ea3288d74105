"""What is too long is cut as the slow obvious way cuts it, one turn after another, in far fewer renderings."""

import random

import pytest

from lmkit.data.chat import Turns
from lmkit.data.chat_templates import ChatML, JinjaFile, Plain, dialect
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.data.conversations import Conversation, Preference
from lmkit.data.examples.cutting import longest_that_fits
from lmkit.data.examples.maker import Example
from lmkit.data.preferences import Pairs
from lmkit.errors import UserError

THINKS = """{% for m in messages %}<|im_start|>{{ m.role }}
{% if loop.last and m.reasoning_content %}({{ m.reasoning_content }}) {% endif %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Without blocks; of thoughts it writes only those of the last answer, so that a longer cut may take fewer tokens."""


@pytest.fixture(params=["ChatML", "Plain", "thinks"])
def encoder(request, tokenizer, tmp_path):
    (tmp_path / "thinks.jinja").write_text(THINKS)
    thinks = JinjaFile(str(tmp_path / "thinks.jinja"), end_of_turn="<|im_end|>", special_tokens=("<|im_start|>",))
    return ChatEncoder({"ChatML": ChatML(), "Plain": Plain(), "thinks": thinks}[request.param], tokenizer, 0)


def message(role, chance, most=6):
    words = chance.choices(["the", "a cat", "dog sat", "on", "under mat", "café", "12"], k=chance.randint(1, most))
    return {"role": role, "content": " ".join(words)}


def talk(chance, weights):
    """Some turns, perhaps behind a system message: one question or two, and an answer, which may be of no weight."""
    said = [message("system", chance)] if chance.random() < 0.5 else []
    for _ in range(chance.randint(1, 7)):
        said += [message("user", chance) for _ in range(chance.choice([1, 1, 1, 2]))]
        thought = message("", chance, 40)["content"]
        said.append(message("assistant", chance) | ({"reasoning_content": thought} if chance.random() < 0.7 else {}))
        said[-1]["weight"] = int(not weights or chance.random() < 0.9)
    return tuple(said)


def made(maker, encoder, value):
    texts = maker.marked(encoder, value)
    return maker.example(encoder, value, texts, encoder.encode(texts))


def by_turns(maker, encoder, values):
    """The example of the first of the values that is not too long."""
    for number, value in enumerate(values):
        try:
            return made(maker, encoder, value)._replace(cut=number > 0)
        except UserError as error:
            if "longer data.context" not in str(error):
                return None
    return None


def plain(example):
    if example is None:
        return None
    return [[*map(list, piece)] for piece in example.pieces], example.bytes, example.numbers, example.cut


def without_error(maker, encoder, value):
    try:
        return made(maker, encoder, value)
    except UserError:
        return None


@pytest.mark.parametrize("train_on", ["assistant", "all"])
def test_a_conversation_is_cut_as_turn_by_turn_from_its_end(encoder, train_on):
    chance, cut = random.Random(0), 0
    for _ in range(60):
        value, context = Conversation(talk(chance, encoder.template.tells), None), chance.randint(20, 250)
        ends = [n for n, said in enumerate(value.messages, 1) if said["role"] == "assistant"]
        beginnings = [Conversation(value.messages[:end], None) for end in reversed(ends)]
        expected = by_turns(Turns(context, train_on, "drop"), encoder, [value, *beginnings[1:]])
        assert plain(without_error(Turns(context, train_on, "cut"), encoder, value)) == plain(expected)
        cut += expected is not None and expected.cut
    assert cut > 10


def test_a_prompt_is_cut_as_question_by_question_from_its_beginning(encoder):
    chance, cut = random.Random(0), 0
    for _ in range(60):
        answers = [(message("assistant", chance) | {"content": word},) for word in ("yes", "no never")]
        value = Preference((*talk(chance, weights=True), message("user", chance)), *answers, None)
        context, prompt = chance.randint(20, 150), value.prompt
        asked = [n for n, said in enumerate(prompt) if said["role"] == "user"]
        shorter = [value._replace(prompt=(*prompt[: asked[0]], *prompt[n:])) for n in asked]
        expected = by_turns(Pairs(context, "drop"), encoder, shorter)
        assert plain(without_error(Pairs(context, "cut"), encoder, value)) == plain(expected)
        cut += expected is not None and expected.cut
    assert cut > 10


def test_a_prompt_whose_last_question_is_too_long_is_told_by_that(encoder):
    answers = [({"role": "assistant", "content": word},) for word in ("yes", "no never")]
    last = {"role": "user", "content": "under mat " * 30}
    prompt = ({"role": "user", "content": "the dog"}, {"role": "assistant", "content": "sat"}, last)
    errors = []
    for too_long, said in (("cut", prompt), ("drop", (last,))):
        with pytest.raises(UserError, match=r"has \d+ tokens, more than 20: give a longer data.context") as error:
            made(Pairs(20, too_long), encoder, Preference(said, *answers, None))
        errors.append(str(error.value))
    assert errors[0] == errors[1]


@pytest.fixture
def renderings(monkeypatch):
    counted, render = [], dialect.render
    monkeypatch.setattr(dialect, "render", lambda *given: counted.append(None) or render(*given))
    return counted


def test_a_long_row_is_written_few_times(encoder, renderings):
    said = tuple({"role": ("user", "assistant")[n % 2], "content": f"{n} the dog sat"} for n in range(200))
    answers = [({"role": "assistant", "content": word},) for word in ("yes", "no never")]
    pair = Preference((*said[:100], {"role": "user", "content": "what"}), *answers, None)
    rows = [(Turns(300, "assistant", "cut"), Conversation(said, None), 16), (Pairs(300, "cut"), pair, 72)]
    for maker, value, most in rows:
        texts = maker.marked(encoder, value)
        encoded, whole = encoder.encode(texts), len(renderings)
        example = maker.example(encoder, value, texts, encoded)
        assert example.cut
        assert 200 < sum(len(piece.ids) for piece in example.pieces) < 320
        # a template without blocks is asked for each beginning, so that half as many turns take half as many
        assert len(renderings) - whole <= (most if encoder.template.tells else 3 * whole)
        renderings.clear()


def test_the_longest_cut_is_the_one_that_its_maker_takes():
    tokens, tried = [3, 9, 4, 8, 12], []

    def least(cut):
        if cut == 2:
            raise UserError("this one cannot be written")
        return cut

    def cut_to(room):
        def make(cut):
            tried.append(cut)
            return Example((), tokens[cut]) if tokens[cut] <= room else None

        return longest_that_fits(range(5), 3, least, make)

    assert cut_to(8) == Example((), 8)
    assert cut_to(3) == Example((), 3)
    assert cut_to(2) is None
    assert tried == [3, 3, 2, 1, 0, 3, 2, 1, 0]
