"""What a checkpoint of an adapter holds: what learns, and which base it is beside, which is read again from there."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from lmkit.checkpoints import BASE, NETWORK
from lmkit.errors import UserError
from lmkit.hf.start_kind import Start
from lmkit.network import Network
from lmkit.transforms import Transform
from lmkit.transforms.merging import adapter_of, given_by_base


class Base(NamedTuple):
    """The weights that an adapter was begun beside.

    Attributes:
        path: where they are.
        fingerprint: what tells them from others.
    """

    path: Path
    fingerprint: str


def base_for(start: Start, transforms: Iterable[Transform] | None) -> Base | None:
    """The base of a network that starts there; none without an adapter, when all of it is kept."""
    return Base(start.path.resolve(), start.fingerprint()) if adapter_of(transforms or ()) else None


def names_of_base(network: Network) -> set[str]:
    """The names in a task's state of what its network has from a base and does not change."""
    return {f"{NETWORK}{name}" for name in given_by_base(network)}


def keep_learned(checkpoint: dict[str, Any], network: Network, base: Base, run: Path) -> None:
    """Leaves out of a checkpoint what is read from the base again, and says where that is.

    Args:
        checkpoint: to be written.
        network: the task's.
        base: of its adapter.
        run: the folder of the run, from which the way to the base stays the same where both are moved together.
    """
    given = names_of_base(network)
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {name: tensor for name, tensor in state.items() if name not in given}
    way = os.path.relpath(base.path, run.resolve())
    checkpoint[BASE] = {"path": str(base.path), "from_run": way, "fingerprint": base.fingerprint}


def check_base(checkpoint: dict[str, Any], base: Base | None) -> None:
    """Compares the base of a checkpoint with that of the network that is to take it.

    Raises:
        UserError: it is another, or there is none.
    """
    if (kept := checkpoint.get(BASE)) and (base is None or base.fingerprint != kept["fingerprint"]):
        found = "no model.init_from is given" if base is None else f"{base.path} is another, or has changed"
        raise UserError(
            f"the checkpoint holds what was learned beside {kept['path']} only, but {found}: start from that base by "
            "model.init_from"
        )
