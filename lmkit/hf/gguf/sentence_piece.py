"""SentencePiece's BPE, as of Llama 2 and Gemma, in the form that tokenizer.json has of it.

SentencePiece merges the neighbours that make the token of the highest score, whichever two they are; a tokenizer.json
lists pairs in their order. Both are the same where it lists all pairs of tokens that make one, one after another.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lmkit.errors import UserError

_SPACE = "▁"
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def is_one(held: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json holds such a tokenizer: a BPE with bytes for what it does not know."""
    return held["model"]["type"] == "BPE" and bool(held["model"].get("byte_fallback"))


def keys_of(held: Mapping[str, Any], tokens: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The keys of such a tokenizer, and what llama.cpp does otherwise.

    Args:
        held: its tokenizer.json.
        tokens: its tokens by their ids.

    Raises:
        UserError: its merges are none of SentencePiece, it lacks bytes, or it changes texts otherwise.
    """
    vocabulary = held["model"]["vocab"]
    if missing := [byte for byte in _BYTES if byte not in vocabulary]:
        raise UserError(f"the tokenizer lacks {missing[0]}, and llama.cpp wants all bytes: export it with --to hf")
    merges = held["model"]["merges"]
    pairs = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in merges]
    ranks = _ranks(pairs, vocabulary, {token["content"] for token in held["added_tokens"]})
    scores = [-float(ranks.get(token, 0)) for token in tokens]
    prefix, remarks = _prefixes(held)
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": prefix}, remarks


def _ranks(pairs: list[tuple[str, ...]], vocabulary: Mapping[str, int], added: set[str]) -> dict[str, int]:
    """By token the place of its merges among those of all.

    Raises:
        UserError: they are not as SentencePiece's.
    """
    made = ["".join(pair) for pair in pairs]
    ranks = {token: rank for rank, token in enumerate(dict.fromkeys(made))}
    in_order = [ranks[token] for token in made]
    known = set(pairs)
    unlisted = next((pair for pair in _possible(vocabulary, added) if pair not in known), None)
    if unlisted or in_order != sorted(in_order):
        why = f"it lists no merge of {unlisted[0]!r} and {unlisted[1]!r}" if unlisted else "their order is another"
        raise UserError(
            f"the tokenizer's merges are not as SentencePiece's ({why}), so that llama.cpp would find other tokens: "
            "export it with --to hf"
        )
    return ranks


def _possible(vocabulary: Mapping[str, int], added: set[str]) -> Iterator[tuple[str, str]]:
    """All pairs of tokens that make one."""
    parts = vocabulary.keys() - added - set(_BYTES)
    for token in parts:
        for cut in range(1, len(token)):
            if token[:cut] in parts and token[cut:] in parts:
                yield token[:cut], token[cut:]


def _prefixes(held: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """Whether a space is put before a text, and what llama.cpp does otherwise.

    Raises:
        UserError: more is done to it.
    """
    changes = _flat(held["normalizer"], "normalizers") + _flat(held["pre_tokenizer"], "pretokenizers")
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    if changes == [{"type": "Prepend", "prepend": _SPACE}, spaces]:
        return True, []
    if changes in ([spaces], [spaces, _SPLIT_AT_SPACES]):
        return False, []
    if len(changes) == 1 and changes[0]["type"] == "Metaspace" and changes[0]["replacement"] == _SPACE:
        _refuse_spaces_within(changes[0], held)
        prefix = changes[0]["prepend_scheme"] != "never"
        return prefix, [_TWO_SPACES] if prefix else []
    kinds = ", ".join(change["type"] for change in changes)
    raise UserError(f"the tokenizer changes texts by {kinds}, which llama.cpp does not: export it with --to hf")


def _refuse_spaces_within(step: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """llama.cpp never cuts before a space, as some do.

    Raises:
        UserError: it is done here, and there are tokens that a text would then have only there.
    """
    added = {token["content"] for token in held["added_tokens"]}
    within = [token for token in held["model"]["vocab"] if _SPACE in token[1:] and token not in added]
    if step.get("split", True) and within:
        raise UserError(
            f"the tokenizer cuts texts before each space, so that its token {within[0]!r} never comes, but in "
            "llama.cpp it would: export it with --to hf"
        )


_TWO_SPACES = "llama.cpp puts a space before texts that begin with one, too, unlike this tokenizer"
_SPLIT_AT_SPACES = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
"""Gemma's, which cuts nothing, for spaces are replaced before."""


def _flat(step: Mapping[str, Any] | None, inner: str) -> list[dict[str, Any]]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [dict(one) for one in step[inner]]
    return [dict(step)]
