"""From a run or checkpoint of lmkit to a Hugging Face folder that is proved to be the same model."""

import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

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
from lmkit.hf.importing import IMPORTED
from lmkit.hf.proof.receipt import Receipt, check
from lmkit.hf.source import Checkpoint
from lmkit.hf.tokens.files import ANY_CLASS, of_any_class, write
from lmkit.hf.writing import Written, write_model
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
        parameters: how many the network has, without an adapter.
        bytes: of its weights.
        receipt: of the comparison, with the adapter if there is one.
        adapter: whether it is an adapter, with its network beside it.
        remark: what the tokenizer's class had to be changed to, and why; none if it was not.
    """

    family: str | None
    parameters: int
    bytes: int
    receipt: Receipt
    adapter: bool
    remark: str | None


def export(
    source: str | Path,
    out: str | Path,
    dtype: torch.dtype | None = None,
    shard: int = SHARD,
    license: str | None = None,
    plugins: tuple[str, ...] = (),
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
        merge: whether an adapter is merged into the network; else it is written in the format of peft, with the network
            that it adapts in the folder `base` beside it.

    Raises:
        UserError: the checkpoint cannot be exported, or `out` is there.
        RunError: transformers finds another model in the folder, which is then removed.
    """
    out = Path(out)
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} is there already: give a folder that is not, or remove it")
    license_fields(license)  # before any work is done
    if shard < 1:
        raise UserError(f"a file of weights is to have at most {shard} bytes: give a number above 0, such as {SHARD}")
    checkpoint = Checkpoint(source, dtype, plugins, merge)
    with whole_folder(out, remedy="choose another folder", same=False) as part:
        base = part / BASE if checkpoint.adapter else part
        base.mkdir(exist_ok=True)
        written = write_model(checkpoint, base, shard)
        receipt, remark = _prove(checkpoint, base, written.family)
        facts = replace(_facts(checkpoint, written, receipt, remark), name=out.name, license=license)
        if checkpoint.adapter:
            _write_card(base, replace(facts, training={}, evaluation={}, data={}, recipe=None))  # of the adapter's run
            network, state = checkpoint.adapted()
            write_adapter(part, state, checkpoint.transforms, written.rules, base=f"./{os.path.relpath(out / BASE)}")
            files = of_any_class(checkpoint.files) if remark else checkpoint.files
            write(part, replace(files, generation={}))  # so that it chats beside another copy of its base
            receipt = _compared(checkpoint, base, network, written.family, adapter=part)
            facts = replace(facts, receipt=receipt, base=BASE, parameters=count(network))
        _write_card(part, facts)
    size = sum(tensor.nbytes for tensor in checkpoint.state.values())
    return Exported(written.family, count(checkpoint.blank), size, receipt, checkpoint.adapter is not None, remark)


def count(network: Decoder) -> int:
    """The parameters of a network, each once."""
    return sum(parameter.numel() for parameter in network.parameters())


def _write_card(folder: Path, facts: CardFacts) -> None:
    (folder / "README.md").write_text(card(facts), encoding="utf-8")


def _prove(checkpoint: Checkpoint, folder: Path, family: str | None) -> tuple[Receipt, str | None]:
    """Reads a model again; a tokenizer that its class builds otherwise than its file says is read by another class.

    Returns:
        The receipt, and the other class with the reason for it, if there is one.

    Raises:
        RunError: it is another model.
    """
    try:
        return _compared(checkpoint, folder, checkpoint.network, family), None
    except OtherTokens:
        named = checkpoint.files.config.get("tokenizer_class")
        if named == ANY_CLASS:
            raise
        write(folder, of_any_class(checkpoint.files))
        why = f"{ANY_CLASS}, as {named or 'the class of its model'} makes other tokens than tokenizer.json says"
        return _compared(checkpoint, folder, checkpoint.network, family), why


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
    made_here = IMPORTED not in checkpoint.kept  # of others transformers may add a token that no file of theirs says
    opening = Tokenizer.from_str(checkpoint.files.tokenizer) if made_here else None
    receipt = check(folder, network, tokenizer, texts, family is None, adapter, opening)
    if not receipt.passed:
        kind = OtherTokens if receipt.alike < receipt.strings else RunError
        raise kind(
            f"the export of {checkpoint.path} is not the same model: {'; '.join(receipt.failures)}: no folder is kept"
        )
    return receipt


def _facts(checkpoint: Checkpoint, written: Written, receipt: Receipt, remark: str | None) -> CardFacts:
    run = checkpoint.path.parent.parent if checkpoint.path.parent.name == "checkpoints" else None
    facts = facts_of(checkpoint.held, run)
    return replace(
        facts,
        parameters=count(checkpoint.blank),
        family=written.family,
        packages=written.packages,
        receipt=receipt,
        tokenizer={**facts.tokenizer, "class": remark} if remark else facts.tokenizer,
        chat=checkpoint.files.chat_template is not None,
        context=checkpoint.blank.context,
    )
