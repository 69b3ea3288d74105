"""What is exported: a checkpoint, its network and its tokenizer."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lmkit import checkpoints
from lmkit.checkpoints import KEY
from lmkit.errors import UserError
from lmkit.hf.importing import IMPORTED
from lmkit.hf.start import files_of
from lmkit.hf.tokens.files import TokenizerFiles
from lmkit.layers.weights import fill
from lmkit.network import Decoder, Network
from lmkit.registry import build, load_plugins


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
        with torch.device("meta"):
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
        fill(network, self.state)
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
