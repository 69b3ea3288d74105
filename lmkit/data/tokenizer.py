"""Byte-level BPE tokenizers: trained on a corpus, or loaded from a tokenizer.json.

Byte-level BPE as in GPT-2 (Radford et al., 2019): any text is a sequence of known tokens and decodes to itself exactly.
"""

from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lmkit.errors import UserError

END_OF_DOCUMENT = "<|endoftext|>"
_KNOWN_ENDS = (END_OF_DOCUMENT, "</s>", "<|end_of_text|>", "<eos>", "[SEP]")
_SMALLEST_VOCABULARY = 257  # every byte, and the end of a document

# What a token never crosses: GPT-4's split, but a line end takes the next line's indentation along. For the validation
# part of Python's standard library, at 8192 tokens, that makes 4.19 bytes a token; GPT-4's makes 3.88, GPT-2's 3.87.
_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+"  # a word with the one space or sign before it
    r"|\p{N}{1,3}"  # digits, three at most, so that long numbers share tokens
    r"| ?[^\s\p{L}\p{N}]+(?:[\r\n]+[ \t]*)?"  # signs, with the line they end
    r"|\s*[\r\n]+[ \t]*|\s+(?!\S)|\s+"  # line ends and indentation, then spaces up to the one that a word takes
)


def train(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Trains a tokenizer; the same texts in the same order give the same one.

    Args:
        texts: what to train on, read once.
        vocab_size: most tokens to make; a text too small for so many gives fewer.

    Raises:
        UserError: vocab_size cannot hold the 256 bytes and the end-of-document token.
    """
    if vocab_size < _SMALLEST_VOCABULARY:
        raise UserError(
            f"vocab_size {vocab_size} cannot hold 256 bytes and the end-of-document token;"
            f" give at least {_SMALLEST_VOCABULARY}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_DOCUMENT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return for_raw_text(tokenizer)


def load(path: str | Path) -> Tokenizer:
    """Loads a tokenizer.json, made here or by Hugging Face, to encode raw text without adding or cutting anything.

    Raises:
        UserError: the file is missing, is no tokenizer, or has no end-of-document token that text cannot spell.
    """
    if not Path(path).is_file():
        raise UserError(f"no tokenizer at {path}; give the path of a tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path} is not a tokenizer.json ({error}); give one that `tokenizers` can load") from error
    tokenizer = for_raw_text(tokenizer)
    end = end_of_document(tokenizer)
    name = tokenizer.id_to_token(end)
    if end in tokenizer.encode(name, add_special_tokens=False).ids:
        raise UserError(f'{path} cannot tell the text "{name}" from its end-of-document token; give another tokenizer')
    return tokenizer


def end_of_document(tokenizer: Tokenizer) -> int:
    """The id of the token that ends a document.

    Raises:
        UserError: the tokenizer has none of the known ones.
    """
    for token in _KNOWN_ENDS:
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    raise UserError(f"the tokenizer has no end-of-document token; add one of {', '.join(_KNOWN_ENDS)} to it")


def vocab_size_used(tokenizer: Tokenizer) -> int:
    """How many ids a model must know: the largest one and one more."""
    return int(max(tokenizer.get_vocab(with_added_tokens=True).values())) + 1


def for_raw_text(tokenizer: Tokenizer) -> Tokenizer:
    """Turns off what a tokenizer does for prompts, none of which is right for a corpus; a file of it forgets that.

    Raises:
        UserError: it has no end-of-document token.
    """
    tokenizer.add_special_tokens([tokenizer.id_to_token(end_of_document(tokenizer))])
    tokenizer.encode_special_tokens = True  # a text that spells "<|endoftext|>" is text, never the token
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
