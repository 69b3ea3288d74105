"""The files of a tokenizer with which a model was trained here, so that transformers feeds the model what lmkit does.

lmkit opens every document by the token that ends one, in training and before a prompt. GPT-2 was trained on such rows
too, but its tokenizer adds nothing, and those who continue a text with it start in the middle of a document. Llama's
adds its first token by a template in tokenizer.json. That is done here: `tokenizer("text")`, as a pipeline calls it,
begins by the end of a document, and `add_special_tokens=False`, as used behind a chat template, gives the bare text.
"""

import json
from typing import Any

from tokenizers import Tokenizer

from lmkit.errors import UserError
from lmkit.hf.tokenizer_files import ANY_CLASS, TokenizerFiles

SAMPLING = {"do_sample": True, "temperature": 0.8, "top_k": 0, "top_p": 1.0}
"""As `lmkit generate` draws; transformers' own would be among the 50 most likely tokens, which 0 turns off."""

_PADS = ("<pad>", "<|pad|>", "<|padding|>", "[PAD]", "<PAD>", "<｜▁pad▁｜>", "<|finetune_right_pad_id|>")  # noqa: RUF001


def from_lmkit(
    tokenizer: Tokenizer,
    end_of_document: int,
    context: int,
    chat_template: str | None = None,
    end_of_turn: str | None = None,
    special_tokens: tuple[str, ...] = (),
) -> TokenizerFiles:
    """The files for a tokenizer, which stays as it is.

    Args:
        tokenizer: as in a checkpoint.
        end_of_document: the id of the token that ends a document.
        context: the most tokens that the model reads.
        chat_template: the text of a chat template.
        end_of_turn: the token by which the assistant ends; none: by the end of a document.
        special_tokens: others that the template writes.

    Raises:
        UserError: the tokenizer lacks one of the tokens.
    """
    copy = _with_special(tokenizer, [_name(tokenizer, end_of_document), *filter(None, (end_of_turn, *special_tokens))])
    end = _name(copy, end_of_document)
    special = [token.content for _, token in sorted(copy.get_added_tokens_decoder().items()) if token.special]
    # Without a pad token none is named: padding by the end would hide from training that a text ends, since labels of
    # padding do not count, and from attention the token by which every text begins.
    pad = next((token for token in _PADS if token in special and token != end), None)
    held = json.loads(copy.to_str())
    held["post_processor"] = _opening(end, end_of_document)
    unk = _unknown(copy, held["model"])
    turn = None if end_of_turn is None else copy.token_to_id(end_of_turn)
    stops = [*([] if turn in (None, end_of_document) else [turn]), end_of_document]
    generation = {"bos_token_id": end_of_document, "eos_token_id": stops if len(stops) > 1 else stops[0], **SAMPLING}
    if pad is not None:
        generation["pad_token_id"] = copy.token_to_id(pad)
    return TokenizerFiles(
        tokenizer=json.dumps(held, indent=2, ensure_ascii=False),
        end_of_document=end_of_document,
        end_of_turn=stops[0] if chat_template else None,
        stops=stops,
        bos=end,
        eos=end,
        pad=pad,
        unk=unk,
        config=_config(context, special, bos_token=end, eos_token=end, pad_token=pad, unk_token=unk),
        tokens={},
        generation=generation,
        template_files={"default": chat_template} if chat_template else {},
    )


def _config(context: int, special: list[str], **named: str | None) -> dict[str, Any]:
    """What tokenizer_config.json says."""
    tokens = {role: token for role, token in named.items() if token is not None}
    config: dict[str, Any] = {
        "tokenizer_class": ANY_CLASS,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],  # or else segments would be given, which models refuse
        **tokens,
    }
    if more := [token for token in special if token not in tokens.values()]:
        config["additional_special_tokens"] = more
    return config


def _name(tokenizer: Tokenizer, number: int) -> str:
    name = tokenizer.id_to_token(number)
    if name is None:
        raise UserError(f"the end of a document is token {number}, but the tokenizer has none of that id: give its own")
    return name


def _with_special(tokenizer: Tokenizer, names: list[str]) -> Tokenizer:
    """A copy that parses these tokens in texts, as transformers needs it, and not as the text that they spell."""
    copy = Tokenizer.from_str(tokenizer.to_str())  # which does not keep `encode_special_tokens`
    copy.no_truncation()
    copy.no_padding()
    if unknown := [name for name in dict.fromkeys(names) if copy.token_to_id(name) is None]:
        raise UserError(
            f"the tokenizer has no token {', '.join(unknown)}, which the chat template writes: choose a template of "
            "tokens that it has, such as Plain, or train with a tokenizer that has them"
        )
    special = {token.content for token in copy.get_added_tokens_decoder().values() if token.special}
    copy.add_special_tokens([name for name in dict.fromkeys(names) if name not in special])
    return copy


def _opening(end: str, number: int) -> dict[str, Any]:
    """A post-processor that puts the token before each text. As JSON, since its constructor splits names at colons."""
    token = [{"SpecialToken": {"id": end, "type_id": kind}} for kind in (0, 1)]
    text = [{"Sequence": {"id": name, "type_id": kind}} for kind, name in enumerate("AB")]
    return {
        "type": "TemplateProcessing",
        "single": [token[0], text[0]],
        "pair": [token[0], text[0], token[1], text[1]],
        "special_tokens": {end: {"id": end, "ids": [number], "tokens": [end]}},
    }


def _unknown(tokenizer: Tokenizer, model: dict[str, Any]) -> str | None:
    """The token for what the vocabulary cannot spell; byte-level ones have none."""
    number = model.get("unk_id")
    return model.get("unk_token") or (None if number is None else tokenizer.id_to_token(number))
