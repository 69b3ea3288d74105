"""From a run or checkpoint of lmkit to a file of llama.cpp."""

from pathlib import Path
from typing import NamedTuple

from lmkit.errors import UserError
from lmkit.hf.gguf.kinds import Kind
from lmkit.hf.gguf.writing import Gguf
from lmkit.hf.source import Checkpoint
from lmkit.hf.tables.anatomy import anatomy_of


class ExportedFile(NamedTuple):
    """What has been written.

    Attributes:
        architecture: what llama.cpp takes the network for.
        parameters: how many numbers the network has.
        bytes: of the file.
        remarks: what is not quite as here, a sentence each.
    """

    architecture: str
    parameters: int
    bytes: int
    remarks: list[str]


def export_gguf(
    source: str | Path, out: str | Path, kind: Kind = "f16", plugins: tuple[str, ...] = (), merge: bool = False
) -> ExportedFile:
    """Writes a GGUF file of network and tokenizer.

    Args:
        source: a run's folder or a .ckpt file.
        out: a file that is not there yet.
        kind: of the numbers of matrices.
        plugins: files of the plugins it uses, where those that its recipe names are no longer there.
        merge: whether an adapter is merged into the network, as it has to be here.

    Raises:
        UserError: the checkpoint cannot be exported so, or `out` is there.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{out} is there already: give a file that is not, or remove it")
    if not out.parent.is_dir():
        raise UserError(f"no folder {out.parent} to write {out.name} into: make it, or give another path")
    checkpoint = Checkpoint(source, plugins=plugins, merge=merge)
    if checkpoint.adapter:
        raise UserError(f"{checkpoint.path} holds an adapter, for which GGUF has no place here: give --merge")
    anatomy = anatomy_of(checkpoint.recipe, checkpoint.blank)
    file = Gguf(anatomy, checkpoint.state, checkpoint.files, out.stem)
    file.write(out, kind)
    parameters = sum(tensor.numel() for tensor in checkpoint.state.values())
    return ExportedFile(file.architecture.name, parameters, out.stat().st_size, file.remarks)
