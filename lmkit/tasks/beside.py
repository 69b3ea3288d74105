"""What a checkpoint says of weights elsewhere, which are read again from there: of the base of an adapter, beside which
it holds what has been learned only, of the reference of a preference loss, and of the teacher of a distillation.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lmkit.checkpoints import BASE, NETWORK
from lmkit.errors import UserError
from lmkit.hf.start import found_again
from lmkit.hf.start_kind import Start
from lmkit.network import Network
from lmkit.transforms import Transform
from lmkit.transforms.merging import adapter_of, given_by_base


class Base(NamedTuple):
    """The weights that a run was begun with.

    Attributes:
        path: where they are.
        fingerprint: what tells them from others.
    """

    path: Path
    fingerprint: str

    def told(self, run: Path) -> dict[str, str]:
        """As a checkpoint keeps it.

        Args:
            run: the folder of the run, from which the way stays the same where both are moved together.
        """
        way = os.path.relpath(self.path, run.resolve())
        return {"path": str(self.path), "from_run": way, "fingerprint": self.fingerprint}


def base_at(start: Start) -> Base:
    """What is there now."""
    return Base(start.path.resolve(), start.fingerprint())


def began_with(kept: Mapping[str, str], places: Iterable[Path], what: str) -> Base:
    """The weights that a checkpoint tells of, for a run that goes on.

    Args:
        kept: what it tells, as of `Base.told`.
        places: where they may be.
        what: needs them, as an error begins.

    Raises:
        UserError: they are in none of these places, or no longer the same.
    """
    start = found_again(kept, places, what, "put back what was there, or begin a new run")
    return Base(start.path.resolve(), kept["fingerprint"])


def base_for(start: Start, transforms: Iterable[Transform] | None) -> Base | None:
    """The base of a network that starts there; none without an adapter, when all of it is kept."""
    return base_at(start) if adapter_of(transforms or ()) else None


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
    checkpoint[BASE] = base.told(run)


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
