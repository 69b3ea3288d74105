"""Where a network starts: at the weights of a Hugging Face folder, of a run or of a checkpoint.

What an adapter has learned is kept beside where it started, in checkpoints that hold no more than that.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from lmkit import checkpoints
from lmkit.checkpoints import BASE, CHAT, KEY
from lmkit.errors import UserError
from lmkit.hf.heads import Head, head_of
from lmkit.hf.importing import IMPORTED
from lmkit.hf.more_tokens import with_new_rows
from lmkit.hf.start_folder import FromFolder
from lmkit.hf.start_kind import Start, check_same
from lmkit.hf.tokens.chatting import with_chat
from lmkit.hf.tokens.files import TokenizerFiles
from lmkit.hf.tokens.made_here import from_lmkit
from lmkit.network import Network
from lmkit.network.fingerprint import digest_of, fingerprint_of
from lmkit.transforms import transformed
from lmkit.transforms.four_bit_states import quantized_state
from lmkit.transforms.merging import as_trained, beside_base, merged_state


class FromCheckpoint(Start):
    """A checkpoint of lmkit, of whose adapters the network keeps what they have learned.

    Args:
        path: of the file.

    Attributes:
        kept: what it keeps under `lmkit`.

    Raises:
        UserError: it holds no recipe.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._held = path, checkpoints.read(path)
        if KEY not in self._held:
            raise UserError(f"{path} holds no recipe, so that nothing can start from it: it was not written by lmkit")
        self.kept: dict[str, Any] = self._held[KEY]
        self.plugins = self.kept["recipe"]["plugins"]
        self.recipe = self.kept["recipe"]["model"]["init_args"]["network"]

    def load_into(self, network: nn.Module) -> None:
        """See `Start`."""
        own = network.state_dict()
        state = with_new_rows(self.tensors(), own)
        check_same(own, state, self.path)
        network.load_state_dict(state)

    def blank(self, ids: int = 0) -> Network:
        """The network of that recipe, on the meta device, with rows for so many token ids at least."""
        return checkpoints.network_of(self.kept, ids)

    def tensors(self) -> dict[str, Tensor]:
        """See `Start`."""
        return merged_state(whole_state(self._held, self.path), checkpoints.transforms_of(self.kept))

    def fingerprint(self) -> str:
        """See `Start`; of numbers as they are kept, since merged ones are rounded as the machine has it."""
        own = {name: digest_of(tensor) for name, tensor in checkpoints.weights(self._held).items()}
        beside = self._held.get(BASE)
        return fingerprint_of({**own, **({BASE: beside["fingerprint"]} if beside else {})})

    def tokenizer(self) -> TokenizerFiles:
        """See `Start`."""
        return files_of(self.kept, self.recipe["init_args"]["context"])

    @property
    def head(self) -> Head | None:
        """See `Start`."""
        return head_of(self._held)

    @property
    def chat(self) -> dict[str, Any] | None:
        """See `Start`."""
        return self.kept.get(CHAT)

    @property
    def imported(self) -> dict[str, Any] | None:
        """See `Start`."""
        return self.kept.get(IMPORTED)


def start_from(path: str | Path) -> Start:
    """The weights of a Hugging Face folder, a run or a checkpoint.

    Raises:
        UserError: there are none.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"nothing is at {path} to start from: give a Hugging Face folder, a run or a checkpoint")
    return FromFolder(path) if (path / "config.json").is_file() else FromCheckpoint(checkpoints.find(path))


def base_of(held: Mapping[str, Any], path: Path, other: str | None = None) -> Start:
    """The base beside which a checkpoint holds what was learned.

    Args:
        held: what is in the checkpoint.
        path: of its file.
        other: where the base may be too, beside where it was, seen from anywhere or from the run's folder.

    Raises:
        UserError: it is in none of these places, or no longer the same.
    """
    kept = held[BASE]
    places = [*places_of(kept, checkpoints.folder_of(path)), *([Path(other)] if other else [])]
    remedy = (
        "put it back, or say where it is, by --model.init_from of a fit or as BASE of `lmkit generate BASE --adapter "
        f"{path}`, or chat"
    )
    return found_again(kept, places, f"{path} holds what was learned beside {kept['path']} only", remedy)


def places_of(kept: Mapping[str, str], run: Path) -> list[Path]:
    """Where weights are that a checkpoint tells of: where they were, seen from anywhere or from the run's folder."""
    return [Path(kept["path"]), run / kept["from_run"]]


def found_again(kept: Mapping[str, str], places: Iterable[Path], what: str, remedy: str) -> Start:
    """The very weights that a checkpoint tells of, as `Base.told` has it say.

    Args:
        kept: what it tells.
        places: where they may be.
        what: needs them, as an error begins.
        remedy: what to do where they are gone.

    Raises:
        UserError: they are in none of these places, or no longer the same.
    """
    there = [place for place in dict.fromkeys(places) if place.exists()]
    unreadable = []
    for place in there:
        try:
            start = start_from(place)
            if start.fingerprint() == kept["fingerprint"]:
                return start
        except UserError as error:  # another place may still have them
            unreadable.append(error)
    gone = "" if Path(kept["path"]).exists() else ", which is gone"
    if not there:
        raise UserError(f"{what}{gone}: {remedy}")
    if len(unreadable) == len(there):
        raise UserError(f"{what}{gone}, but {unreadable[0]}") from unreadable[0]
    raise UserError(
        f"{what}{gone}, but {there[0]} holds other names, shapes or numbers now: put back what was there, or name "
        "where it is"
    )


def whole_state(held: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's transformed network, those of its base among them.

    Raises:
        UserError: the base is gone, or another one.
    """
    own = checkpoints.weights(held)
    if BASE not in held:
        return own
    kept, base = held[KEY], as_trained(base_of(held, path).tensors(), own)
    transforms = checkpoints.transforms_of(kept)
    with torch.device("meta"):
        network = transformed(checkpoints.network_of(kept), transforms)
    state = network.state_dict()
    return beside_base(state, own, quantized_state(with_new_rows(base, state), state, transforms))


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
