"""What each token of a GGUF file is: a piece of text, one of control, a byte."""

import re
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from lmkit.data.tokenizer import vocab_size_used
from lmkit.errors import UserError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Numbers of `tokenizer.ggml.token_type`."""


def typed(tokenizer: Tokenizer, held: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    """The tokens by their ids, and what each is.

    Args:
        tokenizer: whose tokens.
        held: its tokenizer.json.
        size: the rows of the embedding; those past the tokenizer's get names of their own, and added tokens past the
            rows, such as Gemma 3's for images, are left out.

    Raises:
        UserError: there are more tokens than rows.
    """
    added = tokenizer.get_added_tokens_decoder()
    used = vocab_size_used(tokenizer)
    if any(number not in added for number in range(size, used)):
        raise UserError(f"the tokenizer has ids up to {used - 1}, but the network {size} rows: export it with --to hf")
    unknown = held["model"].get("unk_token")
    tokens, types = [], []
    for number in range(size):
        token = tokenizer.id_to_token(number)
        tokens.append(f"[PAD{number}]" if token is None else token)
        if token is None:
            types.append(UNUSED)
        elif token == unknown:
            types.append(UNKNOWN)
        elif number in added:
            types.append(CONTROL if added[number].special else USER_DEFINED)
        else:
            is_byte = held["model"].get("byte_fallback") and re.fullmatch(r"<0x[0-9A-F]{2}>", token)
            types.append(BYTE if is_byte else NORMAL)
    return tokens, types
