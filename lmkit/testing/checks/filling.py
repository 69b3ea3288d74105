"""A network is built on the meta device and filled later, parents first; a layer must come out as its constructor made
it.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lmkit.errors import UserError
from lmkit.layers.weights import check_resets, initialize
from lmkit.testing.results import Failed, NotApplicable, counted
from lmkit.testing.suite import check
from lmkit.testing.whole import MODULES, Module

DO = "fill it in reset_parameters(), of the layer's own attributes only, and call that at the end of the constructor"


@check("filled after meta", MODULES, DO, runs=True)
def filled(subject: Module) -> str | None:
    """Built on meta and filled, each tensor equals that of a layer built at once."""
    with SameDraws():
        eager = subject.make()
    if not eager.state_dict() and not [*eager.buffers()]:
        raise NotApplicable("it owns no tensor")
    with torch.device("meta"):
        late = subject.make()
    try:
        check_resets(late)
        with SameDraws():
            initialize(late, torch.device("cpu"))
    except UserError as error:
        what, _, do = str(error).partition(": ")
        raise Failed(what, do=do) from error
    ours, theirs = _tensors(eager), _tensors(late)
    if ours.keys() != theirs.keys():
        raise Failed(f"only one of the two has {', '.join(sorted(ours.keys() ^ theirs.keys()))}")
    for name, value in ours.items():
        if not torch.equal(value, theirs[name]):
            raise Failed(f"reset_parameters() fills {name} in another way than the constructor")
    return counted(len(ours), "tensor")


class SameDraws(TorchDispatchMode):
    """Every draw begins at one seed, so that values do not depend on the order in which tensors are filled."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Sets the seed before a random operation."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            torch.manual_seed(0)
        return func(*args, **(kwargs or {}))


def _tensors(layer: Any) -> dict[str, torch.Tensor]:
    return dict([*layer.named_parameters(), *layer.named_buffers()])
