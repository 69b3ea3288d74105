"""From sources to a tokenizer and two token stores, kept in a cache by a hash of all that decides their content."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import tokenizers
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from lmkit.data import tokenizer as tokenizing
from lmkit.data.corpus.document import InvalidText
from lmkit.data.corpus.identity import identity
from lmkit.data.corpus.kinds import Filter, Source
from lmkit.data.corpus.reading import read, tallies_of
from lmkit.data.split import is_sampled, is_validation
from lmkit.data.store import StoreWriter, TokenStore
from lmkit.data.whole_folder import made_once
from lmkit.errors import UserError

FORMAT = 1  # raise it when the same settings make other files than before
TOKENIZER_BYTES = 1 << 30  # of a larger source the tokenizer sees a sample of this size, so as to fit in memory


@dataclass(frozen=True)
class Preparation:
    """What to prepare; each is explained at `lmkit.data.text.Text`."""

    source: Source
    validation_source: Source | None
    validation_fraction: float
    tokenizer: str | None
    vocab_size: int
    filters: Sequence[Filter] = ()

    def folder(self) -> Path:
        """Where the result is kept: `tokenizer.json`, `train` and `validation`.

        Raises:
            UserError: the source or the tokenizer cannot be read, the fraction is not between 0 and 1, or a part's
                options are not known.
        """
        split: object = self.validation_fraction
        if self.validation_source is not None:
            split = self.validation_source.key()
        elif not 0 < self.validation_fraction < 1:
            raise UserError(f"validation_fraction {self.validation_fraction} needs to be between 0 and 1, as 0.05")
        words: object = self.vocab_size
        if self.tokenizer is not None:
            tokenizer, end = tokenizing.load_with_end(self.tokenizer)
            words = [blake2b(tokenizer.to_str().encode()).hexdigest(), end]
        parts = [FORMAT, tokenizers.__version__, self.source.key(), split, words]
        if self.filters:
            parts.append([identity(keep) for keep in self.filters])
        key = json.dumps(parts)
        return cache_root() / f"text-{blake2b(key.encode(), digest_size=16).hexdigest()}"


def prepare(wanted: Preparation) -> Path:
    """Makes the tokenizer and both stores unless they are there, and returns their folder.

    Raises:
        UserError: nothing can be read, one side of the split is empty, or no space is left.
    """
    folder = wanted.folder()
    told = made_once(folder, lambda part: _build(wanted, part))
    train, validation = TokenStore(folder / "train"), TokenStore(folder / "validation")
    rank_zero_info(f'data "{wanted.source}": {_size(train)} to train, {_size(validation)} to validate, {told}')
    for tally in train.filters:
        rank_zero_info(f"  {tally}")
    for source, store in ((wanted.source, train), (wanted.validation_source, validation)):
        if source is not None and store.invalid.documents:
            count = f"{store.invalid.sequences} byte sequences in {store.invalid.documents} documents"
            rank_zero_warn(f'data "{source}": {count} are not UTF-8 and were replaced by U+FFFD')
    return folder


def _build(wanted: Preparation, folder: Path) -> None:
    if wanted.tokenizer is not None:
        tokenizer, end = tokenizing.load_with_end(wanted.tokenizer)
    else:
        tokenizer = tokenizing.train(_sample(wanted), wanted.vocab_size)
        end = tokenizing.end_of_document(tokenizer)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=True))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": tokenizer.id_to_token(end)}))
    train, validation = (StoreWriter(folder / name, tokenizer, end=end) for name in ("train", "validation"))
    invalid, tallies = InvalidText(), tallies_of(wanted.filters)
    for document in read(wanted.source, wanted.filters, invalid, tallies):
        (validation if _is_held_out(wanted, document.text) else train).add(document.text)
    train.finish(invalid, tallies)
    if wanted.validation_source is not None:
        invalid = InvalidText()
        for document in read(wanted.validation_source, invalid=invalid):
            validation.add(document.text)
    validation.finish(invalid)
    _refuse_empty(wanted, train.documents, validation.documents)


def _sample(wanted: Preparation) -> Iterator[str]:
    """Texts to train the tokenizer on: training documents only, a sample of them where there are very many."""
    fraction = TOKENIZER_BYTES / max(sum(item.bytes for item in wanted.source.listing()), 1)
    for document in read(wanted.source, wanted.filters):
        if not _is_held_out(wanted, document.text) and is_sampled(document.text, fraction):
            yield document.text


def _is_held_out(wanted: Preparation, text: str) -> bool:
    return wanted.validation_source is None and is_validation(text, wanted.validation_fraction)


def _refuse_empty(wanted: Preparation, train: int, validation: int) -> None:
    if train and validation:
        return
    remedy = "a smaller" if validation else "a larger"
    raise UserError(
        f'the source "{wanted.source}" of {train + validation} documents leaves {train} to train and {validation} to'
        f" validate with validation_fraction {wanted.validation_fraction}; give more documents, {remedy}"
        " --data.validation_fraction, or a --data.validation_source"
    )


def cache_root() -> Path:
    """The folder of what is made once and used again: `$LMKIT_CACHE`, or `~/.cache/lmkit`."""
    if chosen := os.environ.get("LMKIT_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "lmkit"


def _size(store: TokenStore) -> str:
    return f"{store.documents} documents, {store.bytes / 1e6:.2f} MB, {len(store)} tokens"
