"""Chat templates as plain data: what a checkpoint keeps of one, and what a tokenizer's folder holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lmkit.data.chat_templates.end_of_turn import end_of_turn
from lmkit.data.chat_templates.kind import ChatTemplate
from lmkit.data.folder_texts import FolderTexts


class _Kept(ChatTemplate):  # private, so that no list of what a recipe can name has it
    """A template whose text was kept.

    Args:
        text: the template.
        end_of_turn: the token by which the assistant ends; none: the tokenizer's `eos_token`.
        special_tokens: what the tokenizer has to know as one token each.
        roles: who may speak.
        rewrites: whether a later message changes what is written of earlier ones.
    """

    def __init__(
        self,
        text: str,
        end_of_turn: str | None = None,
        special_tokens: tuple[str, ...] = (),
        roles: tuple[str, ...] = ChatTemplate.roles,
        rewrites: bool = False,
    ) -> None:
        self._text, self.end_of_turn, self.rewrites = text, end_of_turn, rewrites
        self.special_tokens, self.roles = tuple(special_tokens), tuple(roles)
        super().__init__()

    @property
    def text(self) -> str:
        """The template."""
        return self._text

    @property
    def name(self) -> str:
        """What errors call it."""
        return "the chat template of the tokenizer"


def plain(template: ChatTemplate) -> dict[str, Any]:
    """A template as plain data."""
    return {
        "text": template.text,
        "end_of_turn": template.end_of_turn,
        "special_tokens": list(template.special_tokens),
        "roles": list(template.roles),
        "rewrites": template.rewrites,
    }


def kept(data: Mapping[str, Any]) -> ChatTemplate:
    """A template of plain data.

    Raises:
        UserError: it does not compile.
    """
    return _Kept(**data)


def beside(path: Path, tokenizer: Tokenizer, end: int, bos: str | None, eos: str | None) -> ChatTemplate | None:
    """The template in the folder of a tokenizer, as Hugging Face keeps it; none where there is none.

    Args:
        path: of the folder.
        tokenizer: which is there.
        end: the id of the token that ends a document.
        bos: what templates are given as `bos_token`.
        eos: what templates are given as `eos_token`.

    Raises:
        UserError: a file cannot be read, or the template does not compile.
    """
    files = FolderTexts(path)
    text = files.text("chat_template.jinja") or files.json("tokenizer_config.json").get("chat_template")
    if not isinstance(text, str):
        return None
    turn = end_of_turn(tokenizer, text, end, (), bos, eos)
    return kept({"text": text, "end_of_turn": None if turn is None else tokenizer.id_to_token(turn)})
