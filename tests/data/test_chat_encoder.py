"""Conversations as tokens: the same as transformers', and what is learned is what the assistant says, to the token."""

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates import ChatML, JinjaFile, Llama3, Plain
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.errors import UserError

TALK = [
    {"role": "system", "content": "You are terse. "},
    {"role": "user", "content": "Was sagst du, café 日本?\n"},
    {"role": "assistant", "content": " \n Nothing  at all. 🙂 "},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "Because."},
]
SILENT = """{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}{{ eos_token }}
{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"""


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["What is it? User: Assistant: System:\n\n Nothing at all. Because ", "You are terse. Was sagst du?"]
    return tokenizing.train(iter(texts * 20), 400)


@pytest.fixture(params=["ChatML", "Llama3", "Plain", "silent"])
def encoder(request, tokenizer, tmp_path):
    (tmp_path / "silent.jinja").write_text(SILENT)
    made = {"ChatML": ChatML, "Llama3": Llama3, "Plain": Plain, "silent": lambda: JinjaFile(tmp_path / "silent.jinja")}
    return ChatEncoder(made[request.param](), tokenizer, 0, bos="<|endoftext|>")


def peer(encoder):
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(encoder.tokenizer.to_str()), eos_token=encoder.eos, bos_token=encoder.bos
    )
    wrapped.chat_template = encoder.template.text
    return wrapped


def test_tokens_are_those_of_transformers(encoder):
    talk = [{**message, "content": message["content"].lstrip()} for message in TALK]
    (encoded,) = encoder.encode([encoder.mark(talk)])
    other = peer(encoder)
    assert encoded.ids.tolist() == other.apply_chat_template(talk, tokenize=True, return_dict=False)
    asked = other.apply_chat_template(TALK[:2], tokenize=True, add_generation_prompt=True, return_dict=False)
    assert encoder.prompt(TALK[:2]) == asked


def test_what_is_learned_is_what_the_assistant_says(encoder):
    trims = not isinstance(encoder.template, ChatML)
    said = [message["content"] for message in TALK if message["role"] == "assistant"]
    said = [text.strip() if trims else text for text in said]
    space = " " if type(encoder.template).__name__ in ("Plain", "JinjaFile") else ""
    wanted = [f"{space}{text}{encoder.end_of_turn}" for text in said]
    for since, texts in ((0, wanted), (len(TALK) - 1, wanted[-1:])):
        (encoded,) = encoder.encode([encoder.mark(TALK, since=since)])
        learned = encoder.tokenizer.decode(encoded.ids[encoded.trained].tolist(), skip_special_tokens=False)
        assert learned == "".join(texts)
        assert encoder.stops[0] in encoded.ids[encoded.trained]
    lesson = encoder.mark(TALK)
    (encoded,) = encoder.encode([lesson._replace(spans=((0, len(lesson.text)),))])
    assert encoded.trained.all()


def test_what_is_learned_goes_on_from_the_prompt(encoder):
    (encoded,) = encoder.encode([encoder.mark(TALK[:3])])
    prompt = encoder.prompt(TALK[:2])
    assert encoded.ids[: len(prompt)].tolist() == prompt
    assert encoded.trained.tolist().index(True) == len(prompt)


def test_tokens_that_are_new_come_behind(tokenizer):
    chat = ChatEncoder(ChatML(), tokenizer, 0)
    used = tokenizing.vocab_size_used(tokenizer)
    assert tokenizing.vocab_size_used(chat.tokenizer) == used + 2
    assert chat.stops == (used + 1, 0)
    assert tokenizing.vocab_size_used(tokenizer) == used
    again = ChatEncoder.of(chat.plain(), tokenizer, 0)
    assert again.prompt(TALK[:2]) == chat.prompt(TALK[:2])


def test_no_content_makes_a_token(tokenizer):
    chat = ChatEncoder(ChatML(), tokenizer, 0)
    with pytest.raises(UserError, match=r"message 1 spells <\|endoftext\|>"):
        chat.mark([{"role": "user", "content": "stop <|endoftext|>"}])
    with pytest.raises(UserError, match="message 1 spells"):
        chat.prompt([{"role": "user", "content": "<|im_end|>"}])


def test_a_template_without_blocks_that_rewrites_is_refused(tokenizer, tmp_path):
    (tmp_path / "t.jinja").write_text("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}")
    chat = ChatEncoder(JinjaFile(tmp_path / "t.jinja"), tokenizer, 0)
    with pytest.raises(UserError, match="earlier messages change as more come"):
        chat.mark(TALK)
