"""Conversations and a tokenizer's files: how the files say what a chat was trained with, and how it is read of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tokenizers import Tokenizer

from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.data.chat_templates.kept import kept
from lmkit.hf.tokens.files import TokenizerFiles


def encoder_of(files: TokenizerFiles) -> ChatEncoder | None:
    """What encodes conversations as the files say; none where they have no chat template.

    Raises:
        UserError: the template does not compile.
    """
    if files.chat_template is None:
        return None
    tokenizer = Tokenizer.from_str(files.tokenizer)
    turn = None if files.end_of_turn is None else tokenizer.id_to_token(files.end_of_turn)
    template = kept({"text": files.chat_template, "end_of_turn": turn})
    return ChatEncoder(template, tokenizer, files.end_of_document, files.bos, files.eos)


def with_chat(files: TokenizerFiles, chat: Mapping[str, Any]) -> TokenizerFiles:
    """The files of a tokenizer with the chat template that a network was trained with here.

    Args:
        files: as they came.
        chat: what `ChatEncoder.plain` gave.
    """
    if files.chat_template == chat["template"]["text"]:
        return files
    tokenizer = Tokenizer.from_str(files.tokenizer)
    encoder = ChatEncoder.of(chat, tokenizer, files.end_of_document)
    before = tokenizer.get_vocab_size()
    special = [token for token in chat["template"]["special_tokens"] if tokenizer.token_to_id(token) is None]
    tokenizer.add_special_tokens(special)
    held = files.tokenizer if tokenizer.get_vocab_size() == before else tokenizer.to_str(pretty=True)
    config = {key: value for key, value in files.config.items() if key != "chat_template"}
    if special:
        config["additional_special_tokens"] = [*(config.get("additional_special_tokens") or []), *special]
    stops = list(encoder.stops)
    return replace(
        files,
        tokenizer=held,
        end_of_turn=stops[0],
        stops=stops,
        config=config,
        generation={**files.generation, "eos_token_id": stops if len(stops) > 1 else stops[0]},
        template_files={"default": chat["template"]["text"]},
    )
