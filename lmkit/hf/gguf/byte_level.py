"""Byte-level BPE, as of GPT-2, Llama 3 and lmkit's own tokenizers."""

import json
from collections.abc import Mapping
from typing import Any

from lmkit.errors import UserError
from lmkit.hf.gguf.splits import split_of


def keys_of(held: Mapping[str, Any], tokens: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The keys of such a tokenizer, and what llama.cpp does otherwise.

    Args:
        held: its tokenizer.json.
        tokens: unused.

    Raises:
        UserError: llama.cpp has no such tokenizer.
    """
    model, normalizer = held["model"], held["normalizer"]
    if model["type"] != "BPE" or any(model.get(f"{place}") for place in _OF_WORDS):
        raise UserError(
            f"the tokenizer is {model['type']}, of which llama.cpp's files say byte-level BPE and SentencePiece's BPE "
            "only: export it with --to hf"
        )
    if normalizer and normalizer["type"] != "NFC":
        raise UserError(
            f"the tokenizer changes texts first, by {json.dumps(normalizer)[:120]}, which llama.cpp does not: "
            "export it with --to hf"
        )
    split = split_of(held)
    remarks = [split.remark] if split.remark else []
    if normalizer:
        remarks.append("llama.cpp does not compose letters and their accents first (NFC), which this tokenizer does")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return {"model": "gpt2", "pre": split.name, "merges": merges}, remarks


_OF_WORDS = ("continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "dropout")
"""Options of a BPE that is not of bytes."""
