"""The kind of transforms: from a network to a network, listed in a recipe and done in that order."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

from torch import nn

from lmkit.errors import UserError
from lmkit.network import Network
from lmkit.transforms.four_bit_linear import FourBitLinear, codes_in


class Transform(ABC):
    """A kind: changes a network that has been built, before anything is loaded into it, compiled or trained; its
    constructor takes all options.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "network"
    """What of a checkpoint depends on it: what the network computes, or its tensors; only which of them learn; or
    nothing. Whoever goes on from a checkpoint needs the same transforms, those that change nothing excepted; whoever
    only reads it needs those that change the network.
    """

    @abstractmethod
    def __call__(self, network: Network) -> Network:
        """The network to go on with, which may be the one that was given, changed.

        It may be on the meta device, where mistakes are looked for and costs are counted: no decision may depend on the
        numbers in its tensors, and a part that is added is made on the device and in the dtype of what it is added to.
        """


def learned_of(network: nn.Module) -> tuple[int, int]:
    """How many parameters of a network learn, and how many it has, those that are kept in four bits among them."""
    four_bit = [part for part in network.modules() if isinstance(part, FourBitLinear)]
    packed, codes = sum(part.in_features * part.out_features for part in four_bit), codes_in(network)
    plain = [p for name, p in network.named_parameters() if name not in codes]
    return sum(p.numel() for p in plain if p.requires_grad), packed + sum(p.numel() for p in plain)


def transformed(network: Network, transforms: Iterable[Transform] | None) -> Network:
    """The network after all transforms, in their order.

    Raises:
        UserError: one gives no network.
    """
    for transform in transforms or ():
        given = transform(network)
        if not isinstance(given, Network):
            raise UserError(
                f"{type(transform).__name__} gives a value of class {type(given).__name__}, but a transform gives the "
                "network to go on with: end its __call__ with `return network`"
            )
        network = given
    return network


def check_learns(network: Network, transforms: Iterable[Transform]) -> None:
    """Looks whether anything of a network is left to learn after its transforms.

    Raises:
        UserError: nothing is.
    """
    names = [type(transform).__name__ for transform in transforms]
    if names and not any(parameter.requires_grad for parameter in network.parameters()):
        raise UserError(
            f"nothing of the network is left to learn after {', '.join(names)}: leave some parameters out of what is "
            "frozen, in model.transforms"
        )
