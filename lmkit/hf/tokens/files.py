"""Tokenizer, chat template and generation settings of a Hugging Face folder: read as plain data, written as they were.

What transformers' AutoTokenizer reads: tokenizer.json, tokenizer_config.json, special_tokens_map.json (of older ones),
chat_template.jinja and additional_chat_templates/ (before, in tokenizer_config.json), and generation_config.json, which
says where generation ends. No code is run: a tokenizer is what its tokenizer.json says, whatever class is named.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lmkit.data.chat_templates.end_of_turn import end_of_turn
from lmkit.data.folder_texts import FolderTexts
from lmkit.data.named_tokens import FILES, id_of, named
from lmkit.data.tokenizer import end_of_document
from lmkit.errors import UserError
from lmkit.hf.tokens.vocab_and_merges import from_vocab_and_merges

TOKENIZER, CONFIG, GENERATION, TOKENS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
)
TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates"
ANY_CLASS = "PreTrainedTokenizerFast"
"""The class that takes any tokenizer.json as it stands; transformers 5 has another name for it, and knows this one."""


@dataclass(frozen=True)
class TokenizerFiles:
    """All that a folder says of its tokenizer, as plain data: `asdict` of it can be kept in a checkpoint.

    Attributes:
        tokenizer: the text of tokenizer.json.
        end_of_document: the id of the token that ends a document.
        end_of_turn: the id of the token by which the assistant ends, none where there are no turns.
        stops: the ids at which generation ends, the first is the main one.
        bos: the token that begins a text, if there is one; so for the next three.
        eos: the token that ends one, of a chat model usually the end of a turn.
        pad: the token that fills up.
        unk: the token of what is not known.
        config: tokenizer_config.json.
        tokens: special_tokens_map.json.
        generation: generation_config.json.
        template_files: the chat templates in files of their own by their names, of which "default" is the main one.
    """

    tokenizer: str
    end_of_document: int
    end_of_turn: int | None
    stops: list[int]
    bos: str | None
    eos: str | None
    pad: str | None
    unk: str | None
    config: dict[str, Any]
    tokens: dict[str, Any]
    generation: dict[str, Any]
    template_files: dict[str, str]

    @property
    def templates(self) -> dict[str, str]:
        """The chat templates that count, by name: those in files of their own, or else those in the configuration."""
        return self.template_files or _templates_in(self.config)

    @property
    def chat_template(self) -> str | None:
        """The chat template used without tools."""
        return self.templates.get("default")


def read(folder: Path) -> TokenizerFiles:
    """Reads what a folder says of its tokenizer.

    Raises:
        UserError: there is no tokenizer that can be read without running code, a file is damaged, or one names a token
            that the tokenizer does not know.
    """
    files = FolderTexts(Path(folder))
    configs = {name: files.json(name) for name in FILES}
    text, tokenizer = _tokenizer(files, configs)
    names = named(configs)
    _refuse_unknown(files, configs, tokenizer, names)
    tokens = {role: tokenizer.id_to_token(name) if isinstance(name, int) else name for role, name in names.items()}
    bos, eos, pad, unk = (tokens.get(f"{role}_token") for role in ("bos", "eos", "pad", "unk"))
    end = end_of_document(tokenizer, eos)
    stops = _stops(configs) or [tokenizer.token_to_id(eos) if eos else end]
    templates = files.named(TEMPLATES, ".jinja")
    if (template := files.text(TEMPLATE)) is not None:
        templates = {"default": template, **templates}
    main = (templates or _templates_in(configs[CONFIG])).get("default")
    turn = end_of_turn(tokenizer, main, end, stops, bos, eos)
    config, legacy, generation = configs[CONFIG], configs[TOKENS], configs[GENERATION]
    return TokenizerFiles(text, end, turn, stops, bos, eos, pad, unk, config, legacy, generation, templates)


def write(folder: Path, files: TokenizerFiles) -> None:
    """Writes the files into a folder, which is there: texts to the byte, settings equal as JSON.

    Raises:
        UserError: a chat template's name is none of a file.
    """
    if "auto_map" in files.config:  # it names a file of code, which is not run here and so does not come along
        files = of_any_class(files)
    (folder / TOKENIZER).write_bytes(files.tokenizer.encode())
    for name, held in ((CONFIG, files.config), (TOKENS, files.tokens), (GENERATION, files.generation)):
        if held:
            (folder / name).write_text(json.dumps(held, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, template in files.template_files.items():
        if not name or Path(name).name != name or name.startswith("."):
            raise UserError(f"the chat template's name {name!r} is none of a file: give letters and digits")
        path = folder / TEMPLATE if name == "default" else folder / TEMPLATES / f"{name}.jinja"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(template.encode())


def of_any_class(files: TokenizerFiles) -> TokenizerFiles:
    """The same tokenizer, to be loaded as its tokenizer.json stands and beside a config.json of any model.

    AutoTokenizer goes by the model's class where the tokenizer's is not named, and classes bring tokens of their own.
    In transformers 5 some take the vocabulary only and split text in their own way: a byte-level tokenizer.json that
    names Llama's class, as DeepSeek V3's does, gives other ids there than here.
    """
    names = {"bos_token": files.bos, "eos_token": files.eos, "pad_token": files.pad, "unk_token": files.unk}
    inputs = {"model_input_names": ["input_ids", "attention_mask"]}  # beside which the class gives segments to models
    config = {**inputs, **files.config, **{role: name for role, name in names.items() if name is not None}}
    config.pop("auto_map", None)
    return replace(files, config={**config, "tokenizer_class": ANY_CLASS})


def _tokenizer(files: FolderTexts, configs: Mapping[str, dict[str, Any]]) -> tuple[str, Tokenizer]:
    """The text of tokenizer.json, and what it holds."""
    text = files.text(TOKENIZER)
    if text is None:
        tokenizer = from_vocab_and_merges(files, configs)
        return tokenizer.to_str(pretty=True), tokenizer
    try:
        return text, Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise UserError(
            f"{files.folder / TOKENIZER} is not a tokenizer ({' '.join(str(error).split())[:200]}): take it from its"
            " source again"
        ) from error


def _refuse_unknown(
    files: FolderTexts, configs: Mapping[str, dict[str, Any]], tokenizer: Tokenizer, names: Mapping[str, str | int]
) -> None:
    """transformers would add a token that tokenizer.json lacks, by an id for which the model may have no embedding."""
    wanted: list[tuple[Any, str]] = [(name, role) for role, name in names.items()]
    wanted += [(number, "eos_token_id") for number in _stops(configs)]
    for key in ("added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"):
        held = configs[CONFIG].get(key) or []
        held = held.values() if isinstance(held, dict) else held if isinstance(held, list) else [held]
        wanted += [(token.get("content") if isinstance(token, dict) else token, key) for token in held]
    wanted += [(token, "added_tokens.json") for token in files.json("added_tokens.json")]
    for name, where in wanted:
        if id_of(tokenizer, name if isinstance(name, int) else str(name)) is None:
            raise UserError(
                f"{files.folder} names the token {name!r} ({where}), which its {TOKENIZER} does not know: correct the "
                "name, or add the token by transformers and save both again"
            )


def _stops(configs: Mapping[str, dict[str, Any]]) -> list[int]:
    """The ids at which generation ends, by the generation's settings or else the model's."""
    for name in (GENERATION, "config.json"):
        ids = configs[name].get("eos_token_id")
        ids = ids if isinstance(ids, list) else [] if ids is None else [ids]
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in ids):
            raise UserError(f"eos_token_id in {name} is {str(ids)[:60]}: give the id of a token, or a list of ids")
        if any(number >= 0 for number in ids):
            return [number for number in ids if number >= 0]
    return []


def _templates_in(config: Mapping[str, Any]) -> dict[str, str]:
    """The chat templates of tokenizer_config.json, which has one, or several with names."""
    held = config.get("chat_template") or []
    several = held if isinstance(held, list) else [{"name": "default", "template": held}]
    try:
        templates: dict[str, str] = {entry["name"]: entry["template"] for entry in several}
    except (TypeError, KeyError) as error:
        raise UserError(f"chat_template in {CONFIG} is a list of something else than names and templates") from error
    if not all(isinstance(text, str) for pair in templates.items() for text in pair):
        raise UserError(f"chat_template in {CONFIG} holds something else than texts: take it from its source again")
    return templates
