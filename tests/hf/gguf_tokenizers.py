"""Tokenizers in the forms that llama.cpp knows, trained on Python code."""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from lmkit.hf.tokens.files import TokenizerFiles, read
from tests.hf.toy_tokenizers import save, template

ODD = [
    "12345 678",
    "don't I'LL we'Ve",
    "a\r\n\n  b\t",
    "日本語 한국어 ÉCOLE straße",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467½²",
    "x  =  [(1)];",
    "HTTPServer",
    " \u00a0 ",
]


def code() -> list[str]:
    """Lines of this package."""
    return [path.read_text() for path in sorted(Path("lmkit/layers").glob("*.py"))[:12]]


def strings() -> list[str]:
    """Whole lines of code, not those trained on, and odd ones."""
    text = "".join(path.read_text() for path in sorted(Path("lmkit/data").glob("*.py"))).splitlines(keepends=True)
    return ODD + ["".join(text[start : start + 3]) for start in range(0, len(text), 7)]


def byte_level(expressions: tuple[str, ...], ignore_merges: bool = False) -> Tokenizer:
    """Byte-level BPE that cuts by some expressions, one after another."""
    made = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    cuts = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in expressions]
    made.pre_tokenizer = pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_end|>"]
    made.train_from_iterator(
        code(),
        trainers.BpeTrainer(vocab_size=1000, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    return made


def sentence_piece(prefix: bool) -> Tokenizer:
    """As SentencePiece's BPE in tokenizer.json: every pair of tokens that makes one is a merge, in the tokens' order.

    Args:
        prefix: whether texts begin by a space, as in Llama 2; not in Gemma.
    """
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    made.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    lines = [line for text in code() for line in text.splitlines()]
    made.train_from_iterator(
        lines, trainers.BpeTrainer(vocab_size=700, special_tokens=special, max_token_length=12, show_progress=False)
    )
    held = json.loads(made.to_str())
    held["added_tokens"] = held["added_tokens"][:3]
    pieces = {token: number for token, number in held["model"]["vocab"].items() if number >= len(special)}
    held["model"]["merges"] = [
        [token[:cut], token[cut:]]
        for token in sorted(pieces, key=pieces.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in pieces and token[cut:] in pieces
    ]
    made = Tokenizer.from_str(json.dumps(held))
    made.post_processor = template(made, "<s>")
    return made


def files(folder: Path, tokenizer: Tokenizer, **config: str) -> TokenizerFiles:
    """Its files, as a folder with these settings has them."""
    return read(save(folder, tokenizer, tokenizer_config={"tokenizer_class": "PreTrainedTokenizerFast", **config}))
