"""Texts that an exported folder makes tokens of and back, against the network's tokenizer."""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of the tokens that stand for no text of their own."""
    held = tokenizer.get_added_tokens_decoder().items()
    return {token.content: number for number, token in held if token.special}


def unlike(tokenizer: Tokenizer, opening: Tokenizer | None, strings: Sequence[str], found: dict[str, Any]) -> list[str]:
    """The strings that are other tokens there, or open otherwise, or whose tokens are turned back into another text.

    Args:
        tokenizer: the network's, to which special tokens are text.
        opening: as it opens a prompt; none where that is not compared.
        strings: some of them special tokens.
        found: of each string its `ids`, the ids of it as a `prompt`, and the `texts` of the former.
    """
    special = special_tokens(tokenizer)
    plain = [each.ids for each in tokenizer.encode_batch(strings, add_special_tokens=False)]
    ids = [[special[text]] if text in special else own for text, own in zip(strings, plain, strict=True)]
    texts = tokenizer.decode_batch(ids, skip_special_tokens=False)
    prompts = [each.ids for each in opening.encode_batch(strings)] if opening else found["prompts"]
    expected = zip(ids, texts, prompts, strict=True)
    given = zip(found["ids"], found["texts"], found["prompts"], strict=True)
    return [text for text, own, theirs in zip(strings, expected, given, strict=True) if own != theirs]
