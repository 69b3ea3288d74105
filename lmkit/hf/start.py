"""Where a network starts: at the weights of a Hugging Face folder, of a run or of a checkpoint."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from lmkit import checkpoints
from lmkit.checkpoints import CHAT, KEY
from lmkit.errors import UserError
from lmkit.hf.importing import IMPORTED, kept_of
from lmkit.hf.model import Model
from lmkit.hf.more_tokens import fill_new_rows, known_rows
from lmkit.hf.tokens import files as tokenizer_files
from lmkit.hf.tokens.chatting import with_chat
from lmkit.hf.tokens.files import TokenizerFiles
from lmkit.hf.tokens.made_here import from_lmkit
from lmkit.registry import build
from lmkit.transforms import Transform
from lmkit.transforms.merging import merged_state


class Start(ABC):
    """Weights to begin with, and what comes along with them.

    Attributes:
        recipe: of the network that they are of.
        plugins: what it needs.
        notes: what has been left out, a line each.
    """

    recipe: dict[str, Any]
    plugins: list[str]
    notes: tuple[str, ...] = ()

    @abstractmethod
    def load_into(self, network: nn.Module) -> None:
        """Fills a network of that recipe, which may have more token ids.

        Raises:
            UserError: the network is another one.
        """

    @abstractmethod
    def key(self) -> Any:
        """What tells these weights from others without reading them: names, sizes and times of files."""

    @abstractmethod
    def tokenizer(self) -> TokenizerFiles:
        """The files of its tokenizer."""

    @property
    @abstractmethod
    def imported(self) -> dict[str, Any] | None:
        """What came with it from Hugging Face, as a checkpoint keeps it; none if it was made here."""


class FromFolder(Start):
    """A Hugging Face folder.

    Args:
        path: of it.
    """

    def __init__(self, path: Path) -> None:
        self._model = Model(path)
        self.recipe, self.plugins, self.notes = self._model.recipe, [], self._model.notes

    def load_into(self, network: nn.Module) -> None:
        """See `Start`."""
        own = network.state_dict()
        known = known_rows(own, self._model.shapes)
        _check_same(known, self._model.shapes, self._model.folder.path)
        self._model.fill(known)
        fill_new_rows(own, self._model.shapes)

    def key(self) -> Any:
        """See `Start`."""
        return [_stamp(path) for path in sorted(self._model.folder.path.iterdir()) if path.is_file()]

    def tokenizer(self) -> TokenizerFiles:
        """See `Start`."""
        return tokenizer_files.read(self._model.folder.path)

    @property
    def imported(self) -> dict[str, Any]:
        """See `Start`."""
        return kept_of(self._model, self.tokenizer())


class FromCheckpoint(Start):
    """A checkpoint of lmkit, of whose adapters the network keeps what they have learned.

    Args:
        path: of the file.

    Raises:
        UserError: it holds no recipe.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._held = path, checkpoints.read(path)
        if KEY not in self._held:
            raise UserError(f"{path} holds no recipe, so that nothing can start from it: it was not written by lmkit")
        self._kept = self._held[KEY]
        self.plugins = self._kept["recipe"]["plugins"]
        self.recipe = self._kept["recipe"]["model"]["init_args"]["network"]

    def load_into(self, network: nn.Module) -> None:
        """See `Start`."""
        transforms = self._kept["recipe"]["model"]["init_args"].get("transforms") or []
        state = merged_state(checkpoints.weights(self._held), build(list[Transform], transforms))
        own = network.state_dict()
        _check_same(known_rows(own, state), state, self.path)
        with torch.no_grad():
            for name, tensor in known_rows(own, state).items():
                tensor.copy_(state[name])
        fill_new_rows(own, state)

    def key(self) -> Any:
        """See `Start`."""
        return [_stamp(self.path)]

    def tokenizer(self) -> TokenizerFiles:
        """See `Start`."""
        return files_of(self._kept, self.recipe["init_args"]["context"])

    @property
    def imported(self) -> dict[str, Any] | None:
        """See `Start`."""
        return self._kept.get(IMPORTED)


def start_from(path: str | Path) -> Start:
    """The weights of a Hugging Face folder, a run or a checkpoint.

    Raises:
        UserError: there are none.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"nothing is at {path} to start from: give a Hugging Face folder, a run or a checkpoint")
    return FromFolder(path) if (path / "config.json").is_file() else FromCheckpoint(checkpoints.find(path))


def _stamp(path: Path) -> list[Any]:
    stat = path.stat()
    return [path.name, stat.st_size, stat.st_mtime_ns]


def _check_same(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Compares the names and shapes of a network's tensors with those that are to fill it.

    Raises:
        UserError: they differ.
    """
    for name in {**own, **tensors}:
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape:
            one, other = (tuple(held[name].shape) if name in held else "none" for held in (own, tensors))
            raise UserError(
                f"the network cannot start from {path}, which is of another one: its {name} is {one}, there it is "
                f"{other}: leave out what changes model.network, or start from another"
            )


def files_of(kept: dict[str, Any], context: int) -> TokenizerFiles:
    """The tokenizer's files of what a checkpoint keeps: those that were imported, or those of one made here."""
    chat = kept.get(CHAT)
    if imported := kept.get(IMPORTED):
        files = TokenizerFiles(**imported["files"])
        return with_chat(files, chat) if chat else files
    tokenizer = Tokenizer.from_str(kept["tokenizer"])
    if chat is None:
        return from_lmkit(tokenizer, kept["end_of_document"], context)
    template = chat["template"]
    told = template["text"], template["end_of_turn"], tuple(template["special_tokens"])
    return from_lmkit(tokenizer, kept["end_of_document"], context, *told)
