"""From a run or checkpoint of lmkit to a Hugging Face folder that is proved to be the same model."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lmkit import checkpoints
from lmkit.checkpoints import KEY
from lmkit.data.whole_folder import whole_folder
from lmkit.errors import UserError
from lmkit.hf.card.text import card
from lmkit.hf.importing import IMPORTED
from lmkit.hf.proof.receipt import Receipt
from lmkit.hf.start import files_of
from lmkit.hf.tokens.files import TokenizerFiles
from lmkit.network import Decoder, Network
from lmkit.registry import build, load_plugins

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SHARD = 5_000_000_000
"""The most bytes of a file of weights."""
TEXTS = 40
"""Documents of the standard library on which an export is compared."""


class Exported(NamedTuple):
    """What has been written.

    Attributes:
        family: the `model_type`; none for the network's own code.
        parameters: how many numbers the network has.
        bytes: of its weights.
        receipt: of the comparison.
    """

    family: str | None
    parameters: int
    bytes: int
    receipt: Receipt


class Checkpoint:
    """A checkpoint, to be exported.

    Args:
        source: a run's folder or a .ckpt file.
        dtype: of the weights to write; none for those that they have.
        plugins: files of the plugins it uses, where those that its recipe names are no longer there.

    Attributes:
        path: of the file.
        kept: what lmkit keeps in it, recipe and tokenizer.
        state: the network's tensors as they are to be written.
        network: with these numbers, in float32.

    Raises:
        UserError: it holds no decoder that can be rebuilt.
    """

    def __init__(self, source: str | Path, dtype: torch.dtype | None = None, plugins: tuple[str, ...] = ()) -> None:
        self.path = checkpoints.find(source)
        self.held = checkpoints.read(self.path)
        if KEY not in self.held:
            raise UserError(f"{self.path} holds no recipe, so that it cannot be exported: it was not written by lmkit")
        self.kept = self.held[KEY]
        load_plugins(plugins or self.kept["recipe"]["plugins"])
        self.recipe: dict[str, Any] = self.kept["recipe"]["model"]["init_args"]["network"]
        network = build(Callable[[], Network], self.recipe)()
        if not isinstance(network, Decoder):
            raise UserError(
                f"{self.path} holds a network of class {type(network).__name__}, but only a Decoder can be exported"
            )
        buffers = dict(network.named_buffers())  # such as a router's bias, which is kept in float32
        state = checkpoints.weights(self.held)
        self.state = {
            name: tensor if name in buffers else tensor.to(dtype or tensor.dtype) for name, tensor in state.items()
        }
        network.load_state_dict(self.state)
        self.network = network.eval()

    @cached_property
    def files(self) -> TokenizerFiles:
        """The files of its tokenizer."""
        return files_of(self.kept, self.network.context)

    @property
    def former(self) -> dict[str, Any] | None:
        """The config that it was imported with; none if it was made here."""
        imported = self.kept.get(IMPORTED)
        return imported["config"] if imported else None


def export(
    source: str | Path,
    out: str | Path,
    dtype: torch.dtype | None = None,
    shard: int = SHARD,
    license: str | None = None,
    plugins: tuple[str, ...] = (),
) -> Exported:
    """Writes a folder that `from_pretrained` of transformers takes, reads it again there, and compares.

    Args:
        source: a run's folder or a .ckpt file.
        out: a folder that is not there yet.
        dtype: of the weights; none for those that they have.
        shard: the most bytes of a file of weights.
        license: for the model card, such as `apache-2.0`; none if there is none yet.
        plugins: files of the plugins it uses, where those that its recipe names are no longer there.

    Raises:
        UserError: the checkpoint cannot be exported, or `out` is there.
        RunError: transformers finds another model in the folder, which is then removed.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{out} is there already: give a folder that is not, or remove it")
    checkpoint = Checkpoint(source, dtype, plugins)
    with whole_folder(out, remedy="choose another folder") as part:
        family = _write_model(checkpoint, part, shard)
        receipt = _prove(checkpoint, part, family)
        facts = _facts(checkpoint, out.name, family, receipt, license)
        (part / "README.md").write_text(card(facts), encoding="utf-8")
    tensors = checkpoint.state.values()
    return Exported(family, sum(t.numel() for t in tensors), sum(t.nbytes for t in tensors), receipt)
