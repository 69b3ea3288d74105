"""GPT-2's vocab.json and merges.txt (Radford et al., 2019) as the one tokenizer that they mean.

Other families have files of these names too, but split text in another way before, which only their code tells.
"""

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from lmkit.data.folder_texts import FolderTexts
from lmkit.data.named_tokens import named
from lmkit.errors import UserError

VOCAB, MERGES, ADDED = "vocab.json", "merges.txt", "added_tokens.json"
_CLASSES = ("GPT2Tokenizer", "GPT2TokenizerFast")
_MODELS = ("gpt2", "gpt_neo", "gptj", "gpt_bigcode")
_OTHERS = ("*.model", "*.tiktoken", "tekken.json", "vocab.txt", VOCAB, MERGES)
_END = "<|endoftext|>"  # what GPT-2's class takes for beginning, end and the unknown where a folder does not say


def from_vocab_and_merges(files: FolderTexts, configs: Mapping[str, dict[str, Any]]) -> Tokenizer:
    """Makes the tokenizer of a folder without a tokenizer.json.

    Raises:
        UserError: the folder has none, has one of another form, or the files do not fit each other.
    """
    config = configs["tokenizer_config.json"]
    stated, model = config.get("tokenizer_class"), configs["config.json"].get("model_type")
    meant = stated in _CLASSES if stated else model in (*_MODELS, None)
    if not (meant and files.has(VOCAB) and files.has(MERGES)):
        _refuse(files, stated)
    vocabulary, merges = _vocabulary(files), _merges(files)
    try:
        tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{VOCAB} and {MERGES} in {files.folder} do not fit each other ({error})") from error
    prefix = bool(config.get("add_prefix_space", False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    _add(tokenizer, files, configs)
    return tokenizer


def _refuse(files: FolderTexts, stated: object) -> None:
    there = sorted({path.name for pattern in _OTHERS for path in files.folder.glob(pattern)})
    if not there:
        raise UserError(
            f"{files.folder} holds no tokenizer: give one by --tokenizer PATH, a folder or the tokenizer.json in it"
        )
    of = f" of the class {stated}" if stated else ""
    call = f"AutoTokenizer.from_pretrained('{files.folder}').save_pretrained('{files.folder}')"
    raise UserError(
        f"{files.folder} has its tokenizer{of} as {', '.join(there)}, but a tokenizer.json is needed: "
        f'make one by python -c "from transformers import AutoTokenizer; {call}"'
    )


def _vocabulary(files: FolderTexts) -> dict[str, int]:
    vocabulary = files.json(VOCAB)
    if not vocabulary or sorted(map(repr, vocabulary.values())) != sorted(map(repr, range(len(vocabulary)))):
        raise UserError(
            f"{files.folder / VOCAB} does not number its {len(vocabulary)} tokens from 0 on: take it from its source"
            " again"
        )
    return vocabulary


def _merges(files: FolderTexts) -> list[tuple[str, str]]:
    lines = (files.text(MERGES) or "").split("\n")
    merges = list[tuple[str, str]]()
    for number, line in enumerate(lines, 1):
        parts = line.strip().split(" ")
        if parts == [""] or (number == 1 and line.startswith("#version")):
            continue
        if len(parts) != 2:
            raise UserError(f"line {number} of {files.folder / MERGES} is {line[:60]!r}, but a merge is two tokens")
        merges.append((parts[0], parts[1]))
    return merges


def _add(tokenizer: Tokenizer, files: FolderTexts, configs: Mapping[str, dict[str, Any]]) -> None:
    """The tokens beside the vocabulary, with the ids that the files tell."""
    described = configs["tokenizer_config.json"].get("added_tokens_decoder") or {}
    added = dict[int, AddedToken]()
    special = {name for name in named(configs).values() if isinstance(name, str)} | {_END}
    try:
        for token, number in files.json(ADDED).items():
            added[int(number)] = AddedToken(token, special=token in special, normalized=token not in special)
        added |= {int(number): AddedToken(**token) for number, token in described.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{ADDED}, or added_tokens_decoder in tokenizer_config.json, in {files.folder} does not describe tokens "
            f"({error}): take both from their source again"
        ) from error
    there = {token.content for token in added.values()}
    known = [token for token in sorted(special - there) if tokenizer.token_to_id(token) is not None]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in known])
    for number, token in sorted(added.items()):
        tokenizer.add_tokens([token])
        if tokenizer.token_to_id(token.content) != number:
            came = tokenizer.token_to_id(token.content)
            raise UserError(
                f"{files.folder} says that {token.content!r} is token {number}, but beside {VOCAB} it would be {came}: "
                "take its files from one source"
            )
