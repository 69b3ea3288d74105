"""By what llama.cpp cuts text into pieces that no token crosses: names that stand for expressions in its code.

A file says no expression, only such a name, so that a tokenizer can be exported if its own expression has one.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tokenizers import models

from lmkit.data import tokenizer as tokenizing
from lmkit.errors import UserError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SIGNS_AND_SPACES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_SIGNS_WITH_SLASHES = _SIGNS_AND_SPACES.replace(r"[\r\n]*", r"[\r\n/]*")

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}{{1,3}}|{_SIGNS_AND_SPACES}"
QWEN2 = rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}|{_SIGNS_AND_SPACES}"
GPT4O = "|".join(
    (
        *(f"{_BEFORE}{words}{_CONTRACTIONS}?" for words in (f"{_UPPER}*{_LOWER}+", f"{_UPPER}+{_LOWER}*")),
        rf"\p{{N}}{{1,3}}|{_SIGNS_WITH_SLASHES}",
    )
)
TEKKEN = rf"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\p{{N}}|{_SIGNS_WITH_SLASHES}"
DEEPSEEK = (
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",  # noqa: RUF001
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
)
DIGIT = r"\p{N}"

KNOWN: dict[tuple[tuple[str, ...], bool], str] = {
    ((GPT2,), False): "gpt-2",
    ((GPT4,), True): "llama-bpe",
    ((GPT4,), False): "dbrx",
    ((QWEN2,), False): "qwen2",
    ((GPT4O,), False): "gpt-4o",
    ((TEKKEN,), True): "tekken",
    (DEEPSEEK, False): "deepseek-v3",
    ((DIGIT, GPT2), False): "smollm",
}
"""By the expressions, and by whether a piece that is a token is taken as one whatever the merges say."""


class Split(NamedTuple):
    """How llama.cpp is to cut text.

    Attributes:
        name: of the pre-tokenizer.
        remark: in what it differs, if it does.
    """

    name: str
    remark: str | None = None


_OWN = Split(
    "superbpe",
    "llama.cpp has no name for how lmkit's own tokenizers cut text: with the nearest, superbpe, 2.6 % of the tokens "
    "of Python code and 1.3 % of those of Markdown are others than here, of the same text, for which a small network "
    "needs 0.4 % more bits; give it tokens of its own tokenizer where that matters",
)
# That cuts at numbers only, so that nearly all merges meet as in training, as none was learnt across our cuts: measured
# on 214 thousand tokens of the standard library, 42 thousand of these pages, and by a Llama of 4 layers trained on the
# former: 2.019 bits per byte with our tokens, 2.027 with these. With GPT-4's expression, which is nearer to ours to
# look at, 16 % of the tokens of code differ, there are 10 % more of them, and it needs 2.531 bits.


def split_of(held: Mapping[str, Any]) -> Split:
    """The name for a byte-level tokenizer.

    Args:
        held: its tokenizer.json.

    Raises:
        UserError: llama.cpp has none.
    """
    expressions, ignored = tuple(_expressions(held["pre_tokenizer"])), bool(held["model"].get("ignore_merges"))
    if name := KNOWN.get((expressions, ignored)):
        return Split(name)
    if (name := KNOWN.get((expressions, not ignored))) and _merges_make_all(held):
        return Split(name)
    if expressions == (_plain(tokenizing.SPLIT),):
        return _OWN
    said = json.dumps(list(expressions), ensure_ascii=False)
    raise UserError(
        f"llama.cpp does not cut text as this tokenizer does, by {said[:200]}: it knows {', '.join(KNOWN.values())}; "
        "export it with --to hf, or train one with such an expression"
    )


def _merges_make_all(held: Mapping[str, Any]) -> bool:
    """Whether the merges make each token out of its own text, so that it is all one whether they are ignored for it."""
    vocabulary, merges = held["model"]["vocab"], held["model"]["merges"]
    pairs = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in merges]
    added = {token["content"] for token in held["added_tokens"]}
    model = models.BPE(vocabulary, pairs)
    made = ((number, model.tokenize(token)) for token, number in vocabulary.items() if token not in added)
    return all([part.id for part in parts] == [number] for number, parts in made)


def _expressions(step: Mapping[str, Any] | None) -> list[str]:
    """The expressions by which a pre-tokenizer cuts, one after another.

    Raises:
        UserError: it does what no expression says.
    """
    kind = step["type"] if step else None
    if step and kind == "Sequence":
        return [expression for inner in step["pretokenizers"] for expression in _expressions(inner)]
    if step and kind == "ByteLevel" and not step["add_prefix_space"]:
        return [GPT2] if step.get("use_regex", True) else []
    if step and kind == "Split" and step["behavior"] == "Isolated" and not step["invert"]:
        return [_plain(step["pattern"].get("Regex", ""))]
    if step and kind == "Digits" and step["individual_digits"]:
        return [DIGIT]
    raise UserError(
        f"llama.cpp does not cut text as this tokenizer does, which has the step {json.dumps(step)[:120]}: "
        "export it with --to hf"
    )


def _plain(expression: str) -> str:
    """An expression with line ends by their letters."""
    return expression.replace("\r", r"\r").replace("\n", r"\n")
