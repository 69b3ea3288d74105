"""What a checkpoint holds, made usable again, with the base that it may be beside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer

from lmkit import checkpoints
from lmkit.checkpoints import BASE, KEY, ids_of
from lmkit.data.tokenizer import for_raw_text
from lmkit.errors import UserError
from lmkit.hf.heads import check_writes
from lmkit.hf.more_tokens import with_new_rows
from lmkit.hf.stacking import stacked, widest
from lmkit.hf.start import FromCheckpoint, base_of
from lmkit.hf.start_kind import check_numbers, check_same
from lmkit.layers.weights import fill
from lmkit.network import Network
from lmkit.registry import load_plugins
from lmkit.transforms import transformed
from lmkit.transforms.merging import as_trained, check_loaded, given_by_base


class Rebuilt(NamedTuple):
    """What a checkpoint holds, made usable; the network is in evaluation mode, and the tokenizer that of the adapter
    which knows more tokens than it, if one does.
    """

    network: Network
    tokenizer: Tokenizer
    end_of_document: int


def rebuild(path: str | Path, plugins: tuple[str, ...] = (), adapters: Sequence[str | Path] = ()) -> Rebuilt:
    """Rebuilds the network and the tokenizer of a checkpoint on the CPU.

    Args:
        path: a .ckpt file.
        plugins: files of the plugins it uses, where those that its recipe names are no longer there.
        adapters: what was learned beside it, in runs or checkpoints or folders of peft, to be merged in in this order.

    Raises:
        UserError: it was written without a recipe, or by a task that writes no text, a plugin it uses is missing, or
            its base is; or an adapter is not of this base, or does not add up with those before it.
    """
    held = checkpoints.read(path)
    if KEY not in held:
        raise UserError(f"{path} holds no recipe, so that it cannot be rebuilt: it was not written by `lmkit fit`")
    kept = held[KEY]
    load_plugins(plugins or kept["recipe"]["plugins"])
    check_writes(kept, Path(path), "go on with one here")
    if adapters:
        base = FromCheckpoint(Path(path))
        network, kept = _with_adapters(base, plugins, adapters), widest(base, adapters)
    else:
        network = _as_trained(held, Path(path))
    check_numbers(network, " or ".join(map(str, (path, *adapters))))
    end = kept["end_of_document"]
    return Rebuilt(network.eval(), for_raw_text(Tokenizer.from_str(kept["tokenizer"]), end), end)


def _as_trained(held: Mapping[str, Any], path: Path) -> Network:
    """The transformed network of a checkpoint."""
    transforms, network = checkpoints.transforms_of(held[KEY]), checkpoints.network_of(held[KEY])
    own = checkpoints.weights(held)
    if BASE in held:  # as a task does it
        base = with_new_rows(base_of(held, path).tensors(), network.state_dict())
        fill(network, as_trained(base, own))
        network = transformed(network, transforms)
        check_loaded(network.load_state_dict(own, strict=False), given_by_base(network))
    else:
        with torch.device("meta"):
            network = transformed(network, transforms)
        fill(network, own)
    return network


def _with_adapters(base: FromCheckpoint, plugins: tuple[str, ...], adapters: Sequence[str | Path]) -> Network:
    """The network of a checkpoint, without transforms, with what was learned beside it."""
    network, state = base.blank(ids_of(widest(base, adapters))), stacked(base, adapters, plugins)
    check_same(network.state_dict(), state, base.path)
    fill(network, state)
    return network
