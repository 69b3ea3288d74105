"""Tiny folders with a tokenizer each, in the shapes that families have on Hugging Face."""

# ruff: noqa: RUF001 (of the letters in DeepSeek's names)

import json
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from lmkit.data import tokenizer as tokenizing
from tests.conftest import WORDS

CHAT = """{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>
{{ m['content'] | trim }}STOP
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""
TEXTS = [
    "",
    " ",
    "the cat sat on the mat",
    "  two spaces before, two after  ",
    "\n\ta tab\r\n\r\nlines ",
    "digits 1234567 and 3.14",
    "don't; can't — «quotes» <tag> </tag>",
    "日本語 👩‍👩‍👧 İstanbul e\u0301 ﬁ",
    "\u0000\u0085\u00a0\u2581 ▁ odd",
    *(f"{a}<|endoftext|>{b}" for a, b in (("", "x"), ("a ", " b"))),
    *(f"the {name} cat {name}{name}" for name in ("<s>", "</s>", "<eos>", "<|im_end|>", "<|eot_id|>", "<pad>")),
]


def texts(count: int = 300) -> list[str]:
    """The hard ones above, and random ones."""
    draw = random.Random(0)
    pieces = [*WORDS, *" \n.,;12éß漢", "  ", "<s>", "</s>", "<|im_end|>", "<|endoftext|>", "<｜end▁of▁sentence｜>"]
    return TEXTS + ["".join(draw.choices(pieces, k=draw.randint(1, 30))) for _ in range(count)]


def corpus() -> list[str]:
    """What the tokenizers are trained on."""
    draw = random.Random(1)
    return [" ".join(draw.choices(WORDS, k=12)) + "\n" for _ in range(200)]


def byte_level(special: list[str], split: str | None = None) -> Tokenizer:
    """Byte-level BPE whose special tokens come behind the rest, as in Llama 3 and Qwen."""
    tokenizer = Tokenizer(models.BPE())
    parts = [pre_tokenizers.Split(Regex(split), "isolated")] if split else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(False, use_regex=not split)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    return tokenizer


def template(tokenizer: Tokenizer, bos: str) -> processors.TemplateProcessing:
    """A post-processor that puts the token before each text."""
    return processors.TemplateProcessing(f"{bos} $A", f"{bos} $A {bos}:1 $B:1", [(bos, tokenizer.token_to_id(bos))])


def save(folder: Path, tokenizer: Tokenizer | None, **configs: dict) -> Path:
    """Writes a folder; a configuration is given by its file's name without the ending."""
    folder.mkdir(parents=True, exist_ok=True)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))
    for name, held in configs.items():
        (folder / f"{name}.json").write_text(json.dumps(held))
    return folder


def described(tokenizer: Tokenizer) -> dict:
    """`added_tokens_decoder`, as transformers writes it."""
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    added = tokenizer.get_added_tokens_decoder()
    return {str(number): {flag: getattr(token, flag) for flag in flags} for number, token in added.items()}


def llama3(folder: Path) -> Path:
    """Llama 3 Instruct: bos by a template within a sequence, three ends of generation, the template in the settings."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|eom_id|>", "<|eot_id|>"]
    made = byte_level(special, tokenizing.SPLIT)
    made.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template(made, "<|begin_of_text|>")]
    )
    ids = {name: made.token_to_id(name) for name in special}
    config = {
        "added_tokens_decoder": described(made),
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "pad_token": "<|finetune_right_pad_id|>",
        "chat_template": CHAT.replace("STOP", "<|eot_id|>"),
        "clean_up_tokenization_spaces": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": 131072,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    stops = [ids["<|end_of_text|>"], ids["<|eom_id|>"], ids["<|eot_id|>"]]
    generation = {"bos_token_id": ids["<|begin_of_text|>"], "eos_token_id": stops, "temperature": 0.6, "top_p": 0.9}
    model = {"model_type": "llama", "eos_token_id": stops}
    return save(folder, made, tokenizer_config=config, generation_config=generation, config=model)


def qwen(folder: Path) -> Path:
    """Qwen Instruct: no bos, eos is the end of a turn, documents end by another, templates in files."""
    made = byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], PRETOKENIZE_REGEX)
    made.normalizer = normalizers.NFC()
    made.add_tokens([AddedToken("<tool_call>", normalized=False, special=False)])
    config = {
        "added_tokens_decoder": described(made),
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "errors": "replace",
        "model_max_length": 32768,
        "tokenizer_class": "Qwen2Tokenizer",
    }
    stops = [made.token_to_id("<|im_end|>"), made.token_to_id("<|endoftext|>")]
    model = {"model_type": "qwen2", "bos_token_id": stops[1], "eos_token_id": stops[0]}
    save(folder, made, tokenizer_config=config, generation_config={"eos_token_id": stops, "top_k": 20}, config=model)
    (folder / "chat_template.jinja").write_bytes(CHAT.replace("STOP", "<|im_end|>").encode())
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates/brief.jinja").write_text("{{ messages[-1].content }} — kurz")
    return folder


def metaspace(folder: Path) -> Path:
    """Llama 2: BPE of characters with bytes for the rest, spaces as ▁, an older special_tokens_map."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made.train_from_iterator(
        corpus(), trainers.BpeTrainer(vocab_size=340, special_tokens=special, max_token_length=12, show_progress=False)
    )
    held = json.loads(made.to_str())
    held["added_tokens"] = held["added_tokens"][:3]
    made = Tokenizer.from_str(json.dumps(held))
    made.post_processor = template(made, "<s>")
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokens = {role: {"content": token, "lstrip": False, "rstrip": False} for role, token in named.items()}
    config = {"tokenizer_class": "LlamaTokenizer", "model_max_length": 4096, "legacy": False, "add_bos_token": True}
    model = {"model_type": "llama", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": -1}
    return save(folder, made, tokenizer_config=config, special_tokens_map=tokens, config=model)


def unigram(folder: Path) -> Path:
    """SentencePiece's unigram model with Metaspace, and Gemma's tokens: there `</s>` is HTML, eos ends documents."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=80, special_tokens=special, unk_token="<unk>", show_progress=False, initial_alphabet=list("</s>")
    )
    made.train_from_iterator(corpus(), trainer)
    made.add_tokens([AddedToken("</s>", normalized=False, special=False)])
    made.add_special_tokens(["<start_of_turn>", "<end_of_turn>"])
    made.post_processor = template(made, "<bos>")
    config = {
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "chat_template": [
            {"name": "default", "template": CHAT.replace("STOP", "<end_of_turn>")},
            {"name": "tool_use", "template": "{{ tools | length }} tools{{ eos_token }}"},
        ],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    model = {"model_type": "gemma2", "eos_token_id": [1, made.token_to_id("<end_of_turn>")]}
    return save(folder, made, tokenizer_config=config, config=model)


def deepseek(folder: Path) -> Path:
    """DeepSeek: names that no keyboard has, eos ends documents and turns; the template is of the settings."""
    made = byte_level(["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    made.post_processor = template(made, "<｜begin▁of▁sentence｜>")
    bos, eos = (made.token_to_id(name) for name in ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"))
    config = {"chat_template": CHAT.replace("STOP", "{{ eos_token }}"), "tokenizer_class": "PreTrainedTokenizerFast"}
    return save(
        folder,
        made,
        tokenizer_config={**config, "eos_token": "<｜end▁of▁sentence｜>", "bos_token": "<｜begin▁of▁sentence｜>"},
        config={"model_type": "deepseek_v3", "bos_token_id": bos, "eos_token_id": eos},
    )


def gpt2(folder: Path) -> Path:
    """GPT-2 of 2019: vocab.json and merges.txt."""
    made = byte_level(["<|endoftext|>"])
    held = json.loads(made.to_str())
    folder.mkdir(parents=True, exist_ok=True)
    end = made.token_to_id("<|endoftext|>")
    vocabulary = {**held["model"]["vocab"], "<|endoftext|>": end}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    merges = [" ".join(pair) for pair in held["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    model = {"model_type": "gpt2", "bos_token_id": end, "eos_token_id": end}
    return save(folder, None, tokenizer_config={"model_max_length": 1024}, config=model)


SHAPES = {make.__name__: make for make in (llama3, qwen, metaspace, unigram, deepseek, gpt2)}
