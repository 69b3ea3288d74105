"""What is exported: a checkpoint, its network and its tokenizer."""

from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from lmkit import checkpoints
from lmkit.checkpoints import KEY
from lmkit.errors import UserError
from lmkit.hf.heads import check_writes
from lmkit.hf.importing import IMPORTED
from lmkit.hf.start import files_of, whole_state
from lmkit.hf.tokens.files import TokenizerFiles
from lmkit.layers.weights import fill
from lmkit.network import Decoder
from lmkit.registry import load_plugins
from lmkit.transforms import Adapter, FourBits, transformed
from lmkit.transforms.four_bit_states import restored_state
from lmkit.transforms.merging import adapter_of, base_state, merged_state


class Checkpoint:
    """A checkpoint, to be exported.

    Args:
        source: a run's folder or a .ckpt file.
        dtype: of the weights to write; none for those that they have.
        plugins: files of the plugins it uses, where those that its recipe names are no longer there.
        merge: whether an adapter is merged into the network that it adapts.

    Attributes:
        path: of the file.
        kept: what lmkit keeps in it, recipe and tokenizer.
        state: the network's tensors as they are to be written.
        blank: the network without any memory.
        transforms: those of its recipe, but for one that keeps matrices in four bits: they are written restored.
        adapter: the one among them, to be written beside the network; none if there is none or it is merged.

    Raises:
        UserError: it holds no decoder that can be rebuilt, or one that a head scores texts by.
    """

    def __init__(
        self,
        source: str | Path,
        dtype: torch.dtype | None = None,
        plugins: tuple[str, ...] = (),
        merge: bool = False,
    ) -> None:
        self.path, self.dtype = checkpoints.find(source), dtype
        self.held = checkpoints.read(self.path)
        if KEY not in self.held:
            raise UserError(f"{self.path} holds no recipe, so that it cannot be exported: it was not written by lmkit")
        self.kept = self.held[KEY]
        load_plugins(plugins or self.kept["recipe"]["plugins"])
        check_writes(self.kept, self.path, "be exported")
        self.recipe: dict[str, Any] = self.kept["recipe"]["model"]["init_args"]["network"]
        self.blank = self._built()
        given = checkpoints.transforms_of(self.kept)
        self.transforms = [transform for transform in given if not isinstance(transform, FourBits)]
        for transform in self.transforms:
            if transform.changes == "network" and not isinstance(transform, Adapter):
                raise UserError(
                    f"{self.path} holds a network that {type(transform).__name__} has changed, which no export can "
                    "say: export a run without it"
                )
        self._weights = restored_state(whole_state(self.held, self.path), given)
        if merge and not adapter_of(self.transforms):
            raise UserError(f"{self.path} has no adapter that could be merged: leave out --merge")
        state = merged_state(self._weights, self.transforms) if merge else base_state(self._weights)
        self.adapter = None if merge else adapter_of(self.transforms)
        buffers = dict(self.blank.named_buffers())  # such as a router's bias, which is kept in float32
        self.state: dict[str, Tensor] = {
            name: tensor if name in buffers else tensor.to(dtype or tensor.dtype) for name, tensor in state.items()
        }

    def _built(self) -> Decoder:
        """The network of the recipe on the meta device.

        Raises:
            UserError: it is no decoder.
        """
        network = checkpoints.network_of(self.kept)
        if not isinstance(network, Decoder):
            raise UserError(
                f"{self.path} holds a network of class {type(network).__name__}, but only a Decoder can be exported"
            )
        return network

    @cached_property
    def network(self) -> Decoder:
        """With these numbers, in float32."""
        network = self._built()
        fill(network, self.state)
        return network.eval()

    def adapted(self) -> tuple[Decoder, dict[str, Tensor]]:
        """The network with its adapter, and its tensors, those of the network alone as they are written."""
        names = {id(tensor): name for name, tensor in self._weights.items()}
        base = {names[id(tensor)]: self.state[name] for name, tensor in base_state(self._weights).items()}
        own = {name: tensor for name, tensor in self._weights.items() if name not in base}
        state = {**{name: tensor.to(self.dtype or tensor.dtype) for name, tensor in own.items()}, **base}
        with torch.device("meta"):
            network = transformed(self._built(), self.transforms)
        fill(network, state)
        return cast(Decoder, network.eval()), state

    @cached_property
    def files(self) -> TokenizerFiles:
        """The files of its tokenizer."""
        return files_of(self.kept, self.blank.context)

    @property
    def former(self) -> dict[str, Any] | None:
        """The config that it was imported with; none if it was made here."""
        imported = self.kept.get(IMPORTED)
        return imported["config"] if imported else None
