"""From a run or checkpoint of lmkit to a Hugging Face folder that is proved to be the same model."""

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer

from lmkit.data.corpus import InvalidText, StandardLibrary
from lmkit.data.tokenizer import for_raw_text
from lmkit.data.whole_folder import whole_folder
from lmkit.errors import RunError, UserError
from lmkit.hf.adapters import write_adapter
from lmkit.hf.card.facts import CardFacts, facts_of
from lmkit.hf.card.licenses import license_fields
from lmkit.hf.card.text import card
from lmkit.hf.own_code import write_code
from lmkit.hf.own_code.write import PREFIX
from lmkit.hf.proof.receipt import Receipt, check
from lmkit.hf.shards import write_shards
from lmkit.hf.source import Checkpoint
from lmkit.hf.tables.anatomy import anatomy_of
from lmkit.hf.tables.families import family_of
from lmkit.hf.tables.rules import Rename, Rule
from lmkit.hf.tokens.files import TokenizerFiles, of_any_class, write
from lmkit.hf.weights import Ties
from lmkit.network import Decoder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHARD = 5_000_000_000
"""The most bytes of a file of weights."""
BASE = "base"
"""Where the network is that an adapter is for, within the adapter's folder."""
TEXTS = 40
"""Documents of the standard library on which an export is compared."""


class Exported(NamedTuple):
    """What has been written.

    Attributes:
        family: the `model_type`; none for the network's own code.
        parameters: how many numbers the network has.
        bytes: of its weights.
        receipt: of the comparison, with the adapter if there is one.
        adapter: whether it is an adapter, with its network beside it.
    """

    family: str | None
    parameters: int
    bytes: int
    receipt: Receipt
    adapter: bool


def export(
    source: str | Path,
    out: str | Path,
    dtype: torch.dtype | None = None,
    shard: int = SHARD,
    license: str | None = None,
    plugins: tuple[str, ...] = (),
    overwrite: bool = False,
    merge: bool = False,
) -> Exported:
    """Writes a folder that `from_pretrained` of transformers takes, reads it again there, and compares.

    Args:
        source: a run's folder or a .ckpt file.
        out: a folder that is not there yet.
        dtype: of the weights; none for those that they have.
        shard: the most bytes of a file of weights.
        license: for the model card, such as `apache-2.0`; none if there is none yet.
        plugins: files of the plugins it uses, where those that its recipe names are no longer there.
        overwrite: whether `out` may be there, and is replaced in the end.
        merge: whether an adapter is merged into the network; else it is written in the format of peft, with the network
            that it adapts in the folder `base` beside it.

    Raises:
        UserError: the checkpoint cannot be exported, or `out` is there.
        RunError: transformers finds another model in the folder, which is then removed.
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise UserError(f"{out} is there already: give a folder that is not, or remove it")
    license_fields(license, None)  # before any work is done
    checkpoint = Checkpoint(source, dtype, plugins, merge)
    with whole_folder(out, remedy="choose another folder") as part:
        base = part / BASE if checkpoint.adapter else part
        base.mkdir(exist_ok=True)
        written = write_model(checkpoint, base, shard)
        receipt = _prove(checkpoint, base, written.family)
        facts = _facts(checkpoint, out.name, written.family, receipt, license)
        (base / "README.md").write_text(card(facts), encoding="utf-8")
        if checkpoint.adapter:
            network, state = checkpoint.adapted()
            write_adapter(part, state, checkpoint.transforms, written.rules, base=BASE)
            receipt = _compared(checkpoint, base, network, written.family, adapter=part)
            (part / "README.md").write_text(card(replace(facts, receipt=receipt, base=BASE)), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
    tensors = checkpoint.state.values()
    parameters, size = sum(tensor.numel() for tensor in tensors), sum(tensor.nbytes for tensor in tensors)
    return Exported(written.family, parameters, size, receipt, checkpoint.adapter is not None)


class Written(NamedTuple):
    """A model's files.

    Attributes:
        family: the `model_type`; none for the network's own code.
        rules: what the tensors of the files are in the network.
    """

    family: str | None
    rules: list[Rule]


def write_model(checkpoint: Checkpoint, folder: Path, shard: int) -> Written:
    """Writes config, weights and tokenizer."""
    anatomy = anatomy_of(checkpoint.recipe, checkpoint.network)
    found = family_of(anatomy, checkpoint.former)
    if found is None:
        config = write_code(checkpoint.network, checkpoint.recipe, folder)
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
    return Written(config["model_type"] if found else None, rules)


def _tokens(files: TokenizerFiles, config: dict[str, Any]) -> dict[str, Any]:
    """The ids of tokens, where a config does not tell them yet."""
    tokenizer = Tokenizer.from_str(files.tokenizer)
    known: dict[str, Any] = {
        f"{role}_token_id": None if name is None else tokenizer.token_to_id(name)
        for role, name in (("bos", files.bos), ("pad", files.pad))
    }
    known["eos_token_id"] = files.stops[0] if len(files.stops) == 1 else files.stops
    return {name: number for name, number in known.items() if config.get(name) is None}


def _prove(checkpoint: Checkpoint, folder: Path, family: str | None) -> Receipt:
    """Reads a model again; a tokenizer that its class builds otherwise than its file says is read by another class.

    Raises:
        RunError: it is another model.
    """
    try:
        return _compared(checkpoint, folder, checkpoint.network, family)
    except OtherTokens:
        write(folder, of_any_class(checkpoint.files))
        return _compared(checkpoint, folder, checkpoint.network, family)


class OtherTokens(RunError):
    """A folder whose texts are tokenized otherwise."""


def _compared(
    checkpoint: Checkpoint, folder: Path, network: Decoder, family: str | None, adapter: Path | None = None
) -> Receipt:
    """The receipt of a folder, and of the adapter that is put beside its model.

    Raises:
        RunError: it is another model.
    """
    tokenizer = for_raw_text(Tokenizer.from_str(checkpoint.kept["tokenizer"]), checkpoint.kept["end_of_document"])
    texts = [document.text for document in islice(StandardLibrary().documents(InvalidText()), TEXTS)]
    receipt = check(folder, network, tokenizer, texts, own_code=family is None, adapter=adapter)
    if not receipt.passed:
        kind = OtherTokens if receipt.alike < receipt.strings else RunError
        raise kind(
            f"the export of {checkpoint.path} is not the same model: {'; '.join(receipt.failures)}: no folder is kept"
        )
    return receipt


def _facts(checkpoint: Checkpoint, name: str, family: str | None, receipt: Receipt, license: str | None) -> CardFacts:
    run = checkpoint.path.parent.parent if checkpoint.path.parent.name == "checkpoints" else None
    facts = facts_of(checkpoint.held, run)
    chat = checkpoint.files.chat_template is not None
    return replace(facts, name=name, family=family, receipt=receipt, license=license, chat=chat)
