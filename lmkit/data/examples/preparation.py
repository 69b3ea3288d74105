"""What decides which examples are made of rows, and so where they are kept in the cache."""

import json
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates import ChatTemplate, Plain
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.data.chat_templates.kept import beside, plain
from lmkit.data.conversations import RowFormat
from lmkit.data.corpus.identity import identity
from lmkit.data.examples.maker import Maker
from lmkit.data.named_tokens import named_in
from lmkit.data.prepare import cache_root
from lmkit.data.rows import RowSource
from lmkit.errors import UserError

FORMAT = 6
"""Of what is kept in the cache; another number makes all anew."""
VOCABULARY = 8192
"""Tokens of a tokenizer that is trained on conversations, for want of another."""


@dataclass(frozen=True)
class ExamplePreparation:
    """What decides the content of the cache.

    Attributes:
        source: of rows.
        validation_source: of rows to validate on; none holds out some of `source`.
        validation_fraction: how many.
        tokenizer: path of a tokenizer.json or its folder; none trains one.
        template: writes conversations; none for the tokenizer's own, or `Plain` where it has none.
        format: of the rows; none finds it by their keys.
        columns: the rows' own names of the format's keys.
        strict: whether the first faulty row ends it.
        maker: makes the examples.
    """

    source: RowSource
    validation_source: RowSource | None
    validation_fraction: float
    tokenizer: str | None
    template: ChatTemplate | None
    format: RowFormat | None
    columns: dict[str, str] | None
    strict: bool
    maker: Maker

    def folder(self) -> Path:
        """Where it belongs: `tokenizer.json`, `train` and `validation`.

        Raises:
            UserError: the source or the tokenizer cannot be read, the fraction is not between 0 and 1, or a part's
                options are not known.
        """
        if self.validation_source is None and not 0 < self.validation_fraction < 1:
            raise UserError(f"validation_fraction {self.validation_fraction} needs to be between 0 and 1, as 0.05")
        words: object = VOCABULARY
        if self.tokenizer is not None:
            tokenizer, end = tokenizing.load_with_end(self.tokenizer)
            words = [blake2b(tokenizer.to_str().encode()).hexdigest(), end, self.encoder(tokenizer, end).plain()]
        split = self.validation_fraction if self.validation_source is None else self.validation_source.key()
        template = None if self.template is None else plain(self.template)
        reading = [identity(self.format) if self.format else None, self.columns, self.strict]
        parts = [FORMAT, tokenizers.__version__, self.source.key(), split, words, template, reading]
        key = json.dumps([*parts, identity(self.maker)], sort_keys=True)
        return cache_root() / f"{self.maker.noun}-{blake2b(key.encode(), digest_size=16).hexdigest()}"

    def encoder(self, tokenizer: Tokenizer, end: int) -> ChatEncoder:
        """What encodes conversations.

        Args:
            tokenizer: which `tokenizer` names, or one that was trained.
            end: the id of the token that ends a document.

        Raises:
            UserError: the template beside the tokenizer cannot be read.
        """
        if self.tokenizer is None:
            return ChatEncoder(self.template or Plain(), tokenizer, end)
        path = Path(self.tokenizer)
        folder = path if path.is_dir() else path.parent
        named = named_in(folder)
        bos, eos = (named.get(role) for role in ("bos_token", "eos_token"))
        bos, eos = (tokenizer.id_to_token(name) if isinstance(name, int) else name for name in (bos, eos))
        template = self.template or beside(folder, tokenizer, end, bos, eos) or Plain()
        return ChatEncoder(template, tokenizer, end, bos, eos)
