"""Byte-level BPE tokenizers: trained on a corpus, or any loaded from a tokenizer.json; and what ends a document.

Byte-level BPE as in GPT-2 (Radford et al., 2019): any text is a sequence of known tokens and decodes to itself exactly.
"""

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from lmkit.data.named_tokens import id_of, named_in
from lmkit.errors import UserError

END_OF_DOCUMENT = "<|endoftext|>"

# Of GPT-2, NeoX, Qwen, Phi, OLMo and many more; of Llama 3, SmolLM 3 and Granite; of DeepSeek; of Gemma; of Hunyuan; of
# Command; of Kimi; of Llama 2, Mistral and T5; of BERT.
_KNOWN_ENDS = (
    END_OF_DOCUMENT,
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",  # noqa: RUF001
    "<eos>",
    "<|eos|>",
    "<EOS_TOKEN>",
    "[EOS]",
    "</s>",
    "[SEP]",
)
_SMALLEST_VOCABULARY = 257  # every byte, and the end of a document

# What a token never crosses: GPT-4's split, but a line end takes the next line's indentation along. For the validation
# part of Python's standard library, at 8192 tokens, that makes 4.19 bytes a token; GPT-4's makes 3.88, GPT-2's 3.87.
SPLIT = (
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
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
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

    Args:
        path: the file, or its folder.

    Raises:
        UserError: the file is missing, is no tokenizer, or has no end-of-document token that text cannot spell.
    """
    return load_with_end(path)[0]


def load_with_end(path: str | Path) -> tuple[Tokenizer, int]:
    """As `load`, with the id of the token that ends a document, which may be named in a file beside it only.

    Raises:
        UserError: as `load`, or a file beside it cannot be read.
    """
    path = Path(path)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"no tokenizer at {path}; give the path of a tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{path} is not a tokenizer.json ({error}); give one that `tokenizers` can load") from error
    end = end_of_document(tokenizer, named_in(path.parent).get("eos_token"))
    tokenizer = for_raw_text(tokenizer, end)
    name = tokenizer.id_to_token(end)
    if end in tokenizer.encode(name, add_special_tokens=False).ids:
        raise UserError(f'{path} cannot tell the text "{name}" from its end-of-document token; give another tokenizer')
    return tokenizer, end


def end_of_document(tokenizer: Tokenizer, eos: str | int | None = None) -> int:
    """The id of the token that ends a document.

    Chat models name the end of a turn as their eos, so that a known name counts more, where it is a special token: to
    Gemma, for one, `</s>` is the end of struck-out HTML.

    Args:
        tokenizer: any.
        eos: the token that its folder names as the end, by text or id.

    Raises:
        UserError: the tokenizer has none of the known ones, and `eos` is none of its tokens.
    """
    number = None if eos is None else id_of(tokenizer, eos)
    stated = [] if number is None else [tokenizer.id_to_token(number)]
    special = _special_tokens(tokenizer)
    first = [token for token in stated if token in _KNOWN_ENDS] + [token for token in _KNOWN_ENDS if token in special]
    for token in (*first, *stated, *_KNOWN_ENDS):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    raise UserError(
        f"the tokenizer has no end-of-document token; add one of {', '.join(_KNOWN_ENDS)} to it, or name its own as"
        " eos_token in a tokenizer_config.json beside it"
    )


def vocab_size_used(tokenizer: Tokenizer) -> int:
    """How many ids a model must know: the largest one and one more."""
    return int(max(tokenizer.get_vocab(with_added_tokens=True).values())) + 1


def first_unlike(tokenizer: Tokenizer, needed: Tokenizer) -> tuple[str, int | None, int] | None:
    """The first token, by ids, of another tokenizer that one does not have by the same id; none where it has all.

    Args:
        tokenizer: that should have them.
        needed: whose tokens they are.

    Returns:
        The token, its id in `tokenizer`, if it has one there, and in `needed`.
    """
    known = tokenizer.get_vocab(with_added_tokens=True)
    tokens = sorted(needed.get_vocab(with_added_tokens=True).items(), key=itemgetter(1))  # which come in any order
    return next(((token, known.get(token), number) for token, number in tokens if known.get(token) != number), None)


def for_raw_text(tokenizer: Tokenizer, end: int | None = None) -> Tokenizer:
    """Turns off what a tokenizer does for prompts, none of which is right for a corpus; a file of it forgets that.

    Args:
        tokenizer: is changed.
        end: the id of the token that ends a document; none: the known one.

    Raises:
        UserError: it has no end-of-document token.
    """
    name = tokenizer.id_to_token(end_of_document(tokenizer) if end is None else end)
    if name not in _special_tokens(tokenizer):  # or else what it says of spaces around the token would be lost
        tokenizer.add_special_tokens([name])
    tokenizer.encode_special_tokens = True  # a text that spells "<|endoftext|>" is text, never the token
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special_tokens(tokenizer: Tokenizer) -> set[str]:
    return {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
