"""Where answers begin, texts are cut only if they have to be, and then training and chat see the same tokens."""

import json

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates import JinjaFile
from lmkit.data.chat_templates.borders import BorderedTokenizer
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.errors import UserError

END = "<|endoftext|>"
TEXTS = ["ask: hello there say: hello there fine", "say:hello say:fine (hello) (fine)", "ask:what say:well now"] * 30
GLUED = "{% for m in messages %}{{ 'ask' if m.role == 'user' else 'say' }}:"
GLUED += "{% if m.role == 'user' %}{{ m.content }}\n{% else %}{% generation %}{{ m.content }}{{ eos_token }}"
GLUED += "{% endgeneration %}{% endif %}{% endfor %}{% if add_generation_prompt %}say:{% endif %}"
SPACED = GLUED.replace("}say:{", "}say: {").replace("}}:{% if", "}}: {% if")  # a prompt that ends by a space


def talk(*contents):
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


TALK = talk("what", "hello there", "well", "fine", "hello", "hello (fine)")


def pieces(scheme):
    """As SentencePiece does: one word from border to border, which may begin by a mark of its own."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if scheme == "prepend":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always" if scheme == "prepend" else scheme)
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=[END, "<unk>"], show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, "\n"], trainer)
    return tokenizer


def bytes_of(trim):
    tokenizer = tokenizing.train(iter(TEXTS), 400)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trim)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    return Tokenizer.from_str(tokenizer.to_str())  # so that it takes special tokens for such


MADE = {scheme: (lambda scheme=scheme: pieces(scheme)) for scheme in ("always", "first", "never", "prepend")}
MADE |= {"trimmed": lambda: bytes_of(True), "bytes": lambda: bytes_of(False)}


@pytest.fixture(params=MADE)
def tokenizer(request):
    return MADE[request.param]()


def encoder_of(folder, template, tokenizer):
    (folder / "t.jinja").write_text(template)
    return ChatEncoder(JinjaFile(str(folder / "t.jinja")), tokenizer, 0)


@pytest.mark.parametrize("template", [GLUED, SPACED])
def test_training_and_chat_see_the_same_tokens(tmp_path, tokenizer, template):
    chat = encoder_of(tmp_path, template, tokenizer)
    lesson = chat.mark(TALK)
    (encoded,) = chat.encode([lesson])
    tokens = [chat.tokenizer.id_to_token(number) for number in encoded.ids]
    text = "".join(tokens).replace("Ġ", " ").replace("Ċ", "\n").replace("▁", " ")
    scheme = tokenizer.pre_tokenizer or tokenizer.normalizer
    if '"prepend_scheme":"always"' in tokenizer.to_str() or "Prepend" in str(scheme):
        assert text == lesson.text.replace("ask", " ask")  # before a text, and behind each special token
    else:
        assert text.lstrip() == lesson.text
    learned = "".join(token for token, use in zip(tokens, encoded.trained, strict=True) if use)
    assert learned.replace("Ġ", " ").replace("▁", " ") == "".join(m["content"] + END for m in TALK[1::2])
    for number in (1, 3, 5):
        prompt = chat.prompt(TALK[:number])
        assert encoded.ids[: len(prompt)].tolist() == prompt
        assert encoded.trained[len(prompt)]
        assert not encoded.trained[len(prompt) - 1]


@pytest.mark.parametrize("scheme", ["always", "first", "prepend", "trimmed"])
def test_only_what_lies_across_a_border_is_cut(scheme):
    tokenizer = MADE[scheme]()
    bordered = BorderedTokenizer(tokenizer)
    text = "ask:what\nsay: hello" + END + "ask:well\nsay: (fine)" + END
    whole = tokenizer.encode(text, add_special_tokens=False)
    spans = bordered.encode([(text, ())])[0].spans.tolist()
    inside = next((a + 1 for a, b in spans if text[a:b] in ("hello", " hello") and b - a > 2), None)
    assert inside is not None, [text[a:b] for a, b in spans]
    border = text.index(":", 20 + len(END)) + 1
    assert bordered.encode([(text, (border,))])[0].ids.tolist() == whole.ids
    cut = bordered.encode([(text, (inside, border))])[0]
    first = tokenizer.encode(text[:inside], add_special_tokens=False).ids
    end = whole.ids.index(tokenizer.token_to_id(END))
    assert cut.ids[: len(first)].tolist() == first
    assert cut.ids.tolist()[-len(whole.ids[end:]) :] == whole.ids[end:]
    assert cut.spans[len(first)].tolist()[0] == inside
    written = "".join(tokenizer.id_to_token(n) for n in cut.ids).replace("Ġ", " ").replace("▁", " ")
    assert written.count("  ") == 0


def test_a_space_that_places_leave_out_is_seen():
    bordered = BorderedTokenizer(bytes_of(True))
    text = "say: hello"
    found = bordered.encode([(text, (len("say: "),))])[0]
    alone = bordered.encode([("say: ", ())])[0]
    assert found.ids[: len(alone.ids)].tolist() == alone.ids.tolist()
    assert len(found.ids) > len(bordered.encode([(text, ())])[0].ids)


def test_what_cannot_be_cut_is_told():
    tokenizer = pieces("always")
    data = json.loads(tokenizer.to_str())
    data["normalizer"] = {"type": "Replace", "pattern": {"Regex": "^"}, "content": "▁"}
    with pytest.raises(UserError, match="writes '▁a' for 'a', and a token lies across"):
        BorderedTokenizer(Tokenizer.from_str(json.dumps(data))).encode([("say: hello", (7,))])
