"""What a checkpoint holds, made usable again, with the base that it may be beside."""

from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer

from lmkit import checkpoints
from lmkit.checkpoints import BASE, KEY
from lmkit.data.tokenizer import for_raw_text
from lmkit.errors import UserError
from lmkit.hf.start import base_of
from lmkit.layers.weights import fill
from lmkit.network import Network
from lmkit.registry import load_plugins
from lmkit.transforms import transformed
from lmkit.transforms.merging import as_trained, check_loaded, given_by_base


class Rebuilt(NamedTuple):
    """What a checkpoint holds, made usable; the network is in evaluation mode."""

    network: Network
    tokenizer: Tokenizer
    end_of_document: int


def rebuild(path: str | Path, plugins: tuple[str, ...] = ()) -> Rebuilt:
    """Rebuilds the network and the tokenizer of a checkpoint on the CPU.

    Args:
        path: a .ckpt file.
        plugins: files of the plugins it uses, where those that its recipe names are no longer there.

    Raises:
        UserError: it was written without a recipe, a plugin it uses is missing, or its base is.
    """
    held = checkpoints.read(path)
    if KEY not in held:
        raise UserError(f"{path} holds no recipe, so that it cannot be rebuilt: it was not written by `lmkit fit`")
    kept = held[KEY]
    load_plugins(plugins or kept["recipe"]["plugins"])
    transforms, network = checkpoints.transforms_of(kept), checkpoints.network_of(kept)
    own = checkpoints.weights(held)
    if BASE in held:  # as a task does it
        fill(network, as_trained(base_of(held, Path(path)).tensors(), own))
        network = transformed(network, transforms)
        check_loaded(network.load_state_dict(own, strict=False), given_by_base(network))
    else:
        with torch.device("meta"):
            network = transformed(network, transforms)
        fill(network, own)
    end = kept["end_of_document"]
    return Rebuilt(network.eval(), for_raw_text(Tokenizer.from_str(kept["tokenizer"]), end), end)
