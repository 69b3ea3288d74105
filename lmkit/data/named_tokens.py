"""Which token a folder of Hugging Face names for what: in its tokenizer's files, else as an id in its model's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lmkit.data.folder_texts import FolderTexts
from lmkit.errors import UserError

ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
FILES = ("special_tokens_map.json", "tokenizer_config.json", "config.json", "generation_config.json")
"""Where tokens are named, the first before the others, as transformers reads them."""


def named_in(folder: Path) -> dict[str, str | int]:
    """`named`, by the files of a folder, any of which may be missing.

    Raises:
        UserError: one cannot be read, or is not what it should be.
    """
    files = FolderTexts(folder)
    return named({name: files.json(name) for name in FILES})


def named(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str | int]:
    """Which token has which of `ROLES`: its text, or its id where only the model's files tell it.

    Args:
        files: what each of `FILES` holds, nothing where there is none.

    Raises:
        UserError: one names a token by something else than a text or a number.
    """
    legacy, config, model, generation = (files[name] for name in FILES)
    if "added_tokens_decoder" in config:  # written since 2023, when the older file ceased to count
        legacy = {}
    text_model = model.get("text_config")
    model = {**(text_model if isinstance(text_model, dict) else {}), **model}
    found: dict[str, str | int] = {}
    for role in ROLES:
        held = ((legacy, role), (config, role), (model, f"{role}_id"), (generation, f"{role}_id"))
        for file, (values, key) in zip(FILES, held, strict=True):
            token = _token(values.get(key), f"{key} in {file}")
            if token is not None:
                found[role] = token
            if token is not None or (values is config and key in config):  # null there says that there is none
                break
    return found


def id_of(tokenizer: Tokenizer, token: str | int) -> int | None:
    """The id of a token that is named by its text or id, none where the tokenizer does not know it."""
    try:
        if isinstance(token, int):
            return None if tokenizer.id_to_token(token) is None else token
        found: int | None = tokenizer.token_to_id(token)
    except OverflowError:  # no id is so large, or below 0
        return None
    return found


def _token(value: Any, where: str) -> str | int | None:
    """A token as it is named: by its text, a description that has the text, an id, or a list whose first one counts."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("content", value)
    if value is None or value == [] or (isinstance(value, int) and value < 0):  # -1 is how some say that there is none
        return None
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    raise UserError(f"{where} is {str(value)[:60]!r}: give a token's text, or its id, as its source does")
