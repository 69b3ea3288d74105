"""Whether a network can read several continuations of one start in one row, the start computed once (prefix sharing,
Wang and Hegde 2024, arXiv:2410.20305).
"""

from inspect import signature

from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.kinds import Attention, Position


def follows_branches(network: nn.Module) -> bool:
    """Whether its forward takes `branches` and all its layers follow them."""
    return "branches" in signature(network.forward).parameters and not _others(network)


def check_branches(network: nn.Module, documents: Tensor | None) -> None:
    """Looks whether branches can be read.

    Raises:
        UserError: a layer does not follow them.
        ValueError: there are no documents.
    """
    if documents is None:
        raise ValueError("branches are those of documents: give documents too")
    for name, layer in _others(network):
        raise UserError(
            f"{name} is a {type(layer).__name__}, which does not follow branches: give each continuation a start of "
            "its own, as a document, or use a layer there that says follows_branches, such as SelfAttention"
        )


def _others(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers that do not follow branches, with their names."""
    parts = ((name, part) for name, part in network.named_modules() if isinstance(part, Attention | Position))
    return [(name, part) for name, part in parts if not part.follows_branches]
