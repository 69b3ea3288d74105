"""A model of a Hugging Face folder: its family, its network's recipe, its weights."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lmkit.errors import UserError
from lmkit.hf.files import AGAIN
from lmkit.hf.folder import Folder
from lmkit.hf.own_code.reading import OWN, recipe_in
from lmkit.hf.shown import says
from lmkit.hf.tables.anatomy import Anatomy, anatomy_of, recipe_of
from lmkit.hf.tables.families import FAMILIES
from lmkit.hf.tables.family import Family
from lmkit.hf.targets import Collected, Digests, Placed
from lmkit.hf.weights import Ties
from lmkit.network import Decoder
from lmkit.registry import build, near


class Model:
    """What a folder holds, looked through before any of it is used.

    Args:
        path: of the folder.
        allow_pickle: whether weights are read from a pickle where there are no safetensors.

    Attributes:
        folder: its files.
        family: which its config names.
        anatomy: the parts of its network.
        recipe: of its network, `class_path` and `init_args`.
        shapes: the tensors of its network by lmkit's names, on the meta device.
        notes: what of it is left out, a line each.

    Raises:
        UserError: it is of no family that is known, says or holds what lmkit cannot represent, or is inconsistent.
    """

    def __init__(self, path: str | Path, allow_pickle: bool = False) -> None:
        self.folder = Folder(path, allow_pickle)
        self.family, config = _family(self.folder.config), self.folder.config
        anatomy = None if self.family is OWN else self.family.read(config)
        self.recipe: dict[str, Any] = recipe_of(anatomy) if anatomy else recipe_in(config)
        depth = self.recipe["init_args"].get("depth")
        if isinstance(depth, int) and depth > len(self.folder.names):  # before they are all made
            raise UserError(
                f"config.json in {path} describes {depth} layers, but its files hold {len(self.folder.names)} tensors: "
                f"{AGAIN}"
            )
        blank = self._blank()
        shapes = blank.state_dict()
        self.anatomy: Anatomy = anatomy or anatomy_of(self.recipe, blank)
        self._ties = Ties(self.family, self.anatomy, shapes)
        self._ties.check(self.folder)
        self.shapes: dict[str, torch.Tensor] = shapes
        later = len(self.family.left_out(config, self.anatomy))
        said = f"what guesses later tokens is left out ({self.family.later}: {later}), as transformers leaves it"
        self.notes: tuple[str, ...] = (said,) if later else ()

    def build(self) -> Decoder:
        """A network of this recipe, with first values."""
        return self._make()

    @cached_property
    def _make(self) -> Callable[[], Decoder]:
        make: Callable[[], Decoder] = build(Callable[[], Decoder], self.recipe)
        return make

    def _blank(self) -> Decoder:
        """The same without any memory.

        Raises:
            UserError: there is no such network, as when its heads do not divide its width.
        """
        try:
            with torch.device("meta"):
                return self.build()
        except UserError as error:
            said = " ".join(str(error).split())
            said = said if len(said) <= 300 else f"{said[:100]} ... {said[-200:]}"
            raise UserError(
                f"config.json in {self.folder.path} describes no network that can be built: {said}"
            ) from error

    def load_into(self, network: nn.Module) -> None:
        """Fills a network of this recipe, on any device and in any dtype, sharded or whole, tensor by tensor."""
        self.fill(network.state_dict())

    def fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Fills the tensors of such a network."""
        self._ties.read(self.folder, Placed(tensors))

    def tensors(self) -> dict[str, torch.Tensor]:
        """All weights by lmkit's names, in the dtypes of the files."""
        collected = Collected(self.shapes)
        self._ties.read(self.folder, collected)
        return collected.tensors

    def digests(self) -> dict[str, str]:
        """Of all weights as `tensors` gives them, one after another."""
        digests = Digests(self.shapes)
        self._ties.read(self.folder, digests)
        return digests.found


def _family(config: dict[str, Any]) -> Family:
    """The family that a config names.

    Raises:
        UserError: none that is known.
    """
    name = config.get("model_type")
    if name == OWN.name:
        return OWN
    if not isinstance(name, str) or name not in FAMILIES:
        if name == "gemma3":
            raise UserError(
                "config.json says model_type: 'gemma3', a model of images too: save its text model by itself first, by "
                "transformers' Gemma3ForCausalLM.from_pretrained(FOLDER).save_pretrained(OTHER)"
            )
        close = near(str(name), FAMILIES)
        meant = f"did you mean {' or '.join(close)}? " if close else ""
        raise UserError(f"{says('model_type', name)}, which lmkit does not know: {meant}it knows {', '.join(FAMILIES)}")
    return FAMILIES[name]
