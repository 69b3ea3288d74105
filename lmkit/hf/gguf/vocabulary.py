"""The tokenizer's keys of a GGUF file: its tokens, what each is, and what llama.cpp does around a text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer

from lmkit.errors import UserError
from lmkit.hf.gguf import byte_level, sentence_piece
from lmkit.hf.gguf.token_types import USER_DEFINED, typed
from lmkit.hf.tokens.files import TokenizerFiles

PREFIX = "tokenizer.ggml."


@dataclass
class Vocabulary:
    """What a file says of its tokenizer.

    Attributes:
        keys: by their names.
        remarks: what llama.cpp does otherwise, a sentence each.
    """

    keys: dict[str, Any]
    remarks: list[str] = field(default_factory=list)


def vocabulary_of(files: TokenizerFiles | None, size: int) -> Vocabulary:
    """The keys of a tokenizer.

    Args:
        files: the tokenizer; none for a file without one.
        size: the rows of the embedding; those past the tokenizer's are filled up.

    Raises:
        UserError: llama.cpp has no such tokenizer, or the network has too few rows for it.
    """
    if files is None:
        return Vocabulary({f"{PREFIX}model": "none"})
    tokenizer, held = Tokenizer.from_str(files.tokenizer), json.loads(files.tokenizer)
    tokens, types = typed(tokenizer, held, size)
    form = sentence_piece if sentence_piece.is_one(held) else byte_level
    keys, remarks = form.keys_of(held, tokens)
    if form is sentence_piece:  # of added tokens llama.cpp looks for the text as it comes
        kinds = zip(tokens, types, strict=True)
        tokens = [token.replace("▁", " ") if kind == USER_DEFINED else token for token, kind in kinds]
    remarks += _of_added_tokens(held)
    keys |= {"tokens": tokens, "token_type": types} | _ids(files, tokenizer) | _around(files, tokenizer)
    keys = {PREFIX + key: value for key, value in keys.items()}
    return Vocabulary(keys | _templates(files), remarks)


def _ids(files: TokenizerFiles, tokenizer: Tokenizer) -> dict[str, int | None]:
    """The ids of the tokens that have a part to play."""
    named = {"bos": files.bos, "unknown": files.unk, "padding": files.pad}
    ids = {f"{role}_token_id": None if name is None else tokenizer.token_to_id(name) for role, name in named.items()}
    eos = files.end_of_document if files.eos is None else tokenizer.token_to_id(files.eos)
    return {**ids, "eos_token_id": eos, "eot_token_id": files.end_of_turn}


def _around(files: TokenizerFiles, tokenizer: Tokenizer) -> dict[str, Any]:
    """What the tokenizer puts before and behind a text.

    Raises:
        UserError: more than one token, or others than those that begin and end one.
    """
    bare, whole = (tokenizer.encode("a", add_special_tokens=special).ids for special in (False, True))
    start = next(n for n in range(len(whole) + 1) if whole[n : n + len(bare)] == bare)
    before, behind = whole[:start], whole[start + len(bare) :]
    ids = _ids(files, tokenizer)
    bos = before[0] if before and ids["bos_token_id"] is None else ids["bos_token_id"]
    if before not in ([], [bos]) or behind not in ([], [ids["eos_token_id"]]):
        raise UserError(
            f"the tokenizer puts the tokens {before} before a text and {behind} behind it, but llama.cpp only its bos "
            f"({bos}) and its eos ({ids['eos_token_id']}): export it with --to hf"
        )
    return {"bos_token_id": bos, "add_bos_token": bool(before), "add_eos_token": bool(behind)}


def _templates(files: TokenizerFiles) -> dict[str, Any]:
    others = sorted(name for name in files.templates if name != "default")
    found: dict[str, Any] = {f"tokenizer.chat_template.{name}": files.templates[name] for name in others}
    if others:
        found["tokenizer.chat_templates"] = others
    return found | ({"tokenizer.chat_template": files.chat_template} if files.chat_template else {})


def _of_added_tokens(held: Mapping[str, Any]) -> list[str]:
    stripping = [token["content"] for token in held["added_tokens"] if token["lstrip"] or token["rstrip"]]
    if not stripping:
        return []
    return [f"llama.cpp keeps spaces around {stripping[0]!r}, which this tokenizer takes away"]
