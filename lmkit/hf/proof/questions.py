"""What an exported folder is asked to prove that it is the network: rows of tokens, a prompt, strings to tokenize."""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lmkit.hf.proof.tokens import special_tokens
from lmkit.network import Decoder

ROWS, LENGTH = 4, 128
"""Rows of a batch, and tokens of each where the context is no shorter."""

STEPS = 32
"""Tokens of the greedy continuation, where the context has room for them."""

STRINGS = 1000

SPECIAL = 50
"""Special tokens among them at most."""

LONG = "long row"

LONGEST = 4096
"""Tokens of the long row at most."""

LOGITS = 2**27
"""Logits of the long row at most: 512 MiB in float32."""

FLOPS = 5e12
"""Floating-point operations of the long row at most, some minutes on one CPU core; 2 a parameter and token."""


class Questions(NamedTuple):
    """What is asked of a folder.

    Attributes:
        random: a batch of random tokens (B, T).
        real: one of the texts' tokens (B, T), with T and B smaller where they are few; none where there are none.
        long: a row of random tokens as long as the context, or as is cheap; none where `random` is no shorter.
        prompt: tokens to continue greedily.
        steps: by how many.
        strings: to tokenize.
    """

    random: Tensor
    real: Tensor | None
    long: Tensor | None
    prompt: list[int]
    steps: int
    strings: list[str]


def questions(network: Decoder, tokenizer: Tokenizer, texts: Sequence[str]) -> Questions:
    """The questions; the same for the same network, tokenizer and texts."""
    generator = torch.Generator().manual_seed(0)
    length = min(network.context, LENGTH)
    drawn = torch.randint(network.vocab_size, (ROWS, length), generator=generator)
    real = _real(tokenizer, texts, length)
    longest = long_length(network)
    long = torch.randint(network.vocab_size, (1, longest), generator=generator) if longest > length else None
    steps = min(STEPS, max(1, network.context // 2))
    prompt = (drawn if real is None else real)[0, : max(1, min(STEPS, network.context - steps))]
    return Questions(drawn, real, long, prompt.tolist(), steps, strings(tokenizer, texts))


def long_length(network: Decoder) -> int:
    """Tokens of the longest row that is cheap to read, up to the context."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return min(network.context, LONGEST, LOGITS // network.vocab_size, int(FLOPS / (2 * parameters)))


def _real(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Tensor | None:
    """Rows of the texts' tokens, joined; one short row where they do not fill one."""
    ids: list[int] = []
    for text in texts:
        ids += tokenizer.encode(text[: 64 * ROWS * length], add_special_tokens=False).ids
        if len(ids) >= ROWS * length:
            break
    rows = min(ROWS, len(ids) // length)
    tokens = torch.tensor(ids[: rows * length] if rows else ids)
    return tokens.view(max(1, rows), -1) if ids else None


def strings(tokenizer: Tokenizer, texts: Sequence[str], count: int = STRINGS) -> list[str]:
    """Strings of many kinds: some special tokens, and texts in which none is, since lmkit reads such as text there."""
    draw = random.Random(0)
    special = special_tokens(tokenizer)
    kinds = [*_KINDS, *([_excerpts(texts)] * 3 if any(texts) else [])]
    made = dict.fromkeys(islice(special, SPECIAL))  # a set, in order
    for kind in islice(cycle(kinds), 10 * count):  # an end, lest a special token be in all of them
        text = kind(draw)
        if text and not any(token in text for token in special):
            made[text] = None
        if len(made) == count:
            break
    return list(made)


def _excerpts(texts: Sequence[str]) -> Callable[[random.Random], str]:
    filled = [text for text in texts if text]

    def excerpt(draw: random.Random) -> str:
        text = draw.choice(filled)
        start = draw.randrange(len(text))
        return text[start : start + draw.randint(1, 200)]

    return excerpt


def _anywhere(draw: random.Random) -> str:
    """Code points of all 17 planes, assigned or not, but for surrogates, which UTF-8 does not have."""
    points = (draw.randrange(0x110000) for _ in range(draw.randint(1, 24)))
    return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)


def _written(draw: random.Random) -> str:
    """Letters of one script, with spaces."""
    first, last = draw.choice(_SCRIPTS)
    words = ("".join(chr(draw.randint(first, last)) for _ in range(draw.randint(1, 9))) for _ in range(6))
    return " ".join(words)


def _marked(draw: random.Random) -> str:
    """Letters with combining marks, composed or not, and emoji with joiners and skin tones."""
    return "".join(draw.choice(_MARKED) + chr(draw.randint(0x300, 0x36F)) * draw.randint(0, 2) for _ in range(12))


def _control(draw: random.Random) -> str:
    return "".join(draw.choice(_CONTROLS) for _ in range(draw.randint(1, 16)))


def _code(draw: random.Random) -> str:
    lines = (" " * draw.choice([0, 2, 4, 8]) + "".join(draw.choices(_CODE, k=8)) for _ in range(draw.randint(1, 5)))
    return draw.choice(["\n", "\r\n", "\n\n"]).join(lines)


def _digits(draw: random.Random) -> str:
    return "".join(draw.choices("00123456789.,-+e ٣५", k=draw.randint(1, 40)))


def _spaces(draw: random.Random) -> str:
    runs = (draw.choice(" \t\n\r\u00a0\u2003\u3000") * draw.randint(1, 12) for _ in range(draw.randint(1, 6)))
    return draw.choice(["", "a", "."]).join(runs) + draw.choice(["", "b"])


_KINDS = (_anywhere, _written, _marked, _control, _code, _digits, _spaces)
_SCRIPTS = ((97, 122), (0xC0, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA), (0x627, 0x64A), (0x905, 0x939),
            (0xE01, 0xE2E), (0x3041, 0x3096), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x1F600, 0x1F64F))  # fmt: skip
_MARKED = ["e", "o", "é", "ö", "ﬁ", "Å", "İ", "ß", "한", "क", "\U0001f44d", "\U0001f44d\U0001f3fd", "\u2764\ufe0f",
           "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", " "]  # fmt: skip
_CONTROLS = [*map(chr, range(32)), "\x7f", "\x85", "\u200b", "\u200e", "\u2028", "\ufeff", "\ufffd", "\ufffe", "x"]
_CODE = ["def ", "return", "x", "_y1", "self.", "(", ")", "[0]", "{", "}", " = ", "==", "->", "//", "/* */", "\t", ";",
         "0x1F", '"s"', "'ll", "don't", "#", "<a>", "&&", "::", "https://a.b/c?d=1", "\\n", "λ", "aB"]  # fmt: skip


def batches(asked: Questions) -> Iterator[tuple[str, Tensor]]:
    """The batches of tokens that are there, with their names."""
    named = (("random tokens", asked.random), ("real tokens", asked.real), (LONG, asked.long))
    return ((name, tokens) for name, tokens in named if tokens is not None)
