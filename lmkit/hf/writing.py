"""Writes a model's files: config, weights and tokenizer, as transformers knows them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from lmkit.hf.own_code import write_code
from lmkit.hf.own_code.write import PREFIX
from lmkit.hf.shards import write_shards
from lmkit.hf.source import Checkpoint
from lmkit.hf.tables.anatomy import anatomy_of
from lmkit.hf.tables.families import family_of
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tables.rules import Rename
from lmkit.hf.tokens.files import TokenizerFiles, of_any_class, write
from lmkit.hf.weights import Ties


class Written(NamedTuple):
    """A model's files.

    Attributes:
        family: the `model_type`; none for the network's own code.
        rules: what the tensors of the files are in the network.
        packages: that the network's own code needs beside torch and transformers.
    """

    family: str | None
    rules: list[Rule]
    packages: tuple[str, ...]


def write_model(checkpoint: Checkpoint, folder: Path, shard: int) -> Written:
    """Writes config, weights and tokenizer."""
    anatomy = anatomy_of(checkpoint.recipe, checkpoint.blank)
    found = family_of(anatomy, checkpoint.former)
    if found is None:
        config = write_code(checkpoint.blank, checkpoint.recipe, folder)
        named = {PREFIX + name: tensor.contiguous() for name, tensor in checkpoint.state.items()}
        write_shards(folder, named.items(), {name: tensor.nbytes for name, tensor in named.items()}, shard)
        rules: list[Rule] = [Rename(PREFIX + name, name) for name in checkpoint.state]
    else:
        family, config = found
        config.pop("auto_map", None)  # code that came along is not run here, and does not go along
        ties = Ties(family, anatomy, checkpoint.state)
        write_shards(folder, ties.write(checkpoint.state), ties.sizes(checkpoint.state), shard)
        rules = ties.rules
    former = checkpoint.former or {}
    as_it_came = config["model_type"] == former.get("model_type")
    write(folder, checkpoint.files if as_it_came else of_any_class(checkpoint.files))
    config = {**config, **_tokens(checkpoint.files, config)}
    config["dtype"] = str(checkpoint.state["embedding.weight"].dtype).removeprefix("torch.")
    config.pop("torch_dtype", None)  # what dtype was called before
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return Written(config["model_type"] if found else None, rules, () if found else tuple(config["packages"]))


def _tokens(files: TokenizerFiles, config: dict[str, Any]) -> dict[str, Any]:
    """The ids of tokens, where a config does not tell them yet."""
    tokenizer = Tokenizer.from_str(files.tokenizer)
    known: dict[str, Any] = {
        f"{role}_token_id": None if name is None else tokenizer.token_to_id(name)
        for role, name in (("bos", files.bos), ("pad", files.pad))
    }
    known["eos_token_id"] = files.stops[0] if len(files.stops) == 1 else files.stops
    return {name: number for name, number in known.items() if config.get(name) is None}
