"""What a list of transforms makes of a network, and what that leaves to learn."""

from collections.abc import Iterable

from torch import nn

from lmkit.errors import UserError
from lmkit.network import Network
from lmkit.optim.groups import FACTOR
from lmkit.transforms.four_bit_linear import FourBitLinear, codes_in
from lmkit.transforms.learning_rate import LearningRate
from lmkit.transforms.transform import Transform


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


def check_rates(network: nn.Module, transforms: Iterable[Transform]) -> None:
    """Looks whether something learns at a rate of its own, where one was given.

    Raises:
        UserError: nothing does: what was given one has been frozen since.
    """
    if not any(isinstance(transform, LearningRate) for transform in transforms):
        return
    own = [module for module in network.modules() if hasattr(module, FACTOR)]
    if not any(parameter.requires_grad for module in own for parameter in module.parameters(recurse=False)):
        raise UserError(
            "nothing learns at the rate that LearningRate gives: list it behind what freezes the rest of the network, "
            "such as an adapter, in model.transforms"
        )


def check_learns(network: nn.Module, transforms: Iterable[Transform]) -> None:
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


def learned_of(network: nn.Module) -> tuple[int, int]:
    """How many parameters of a network learn, and how many it has, those that are kept in four bits among them."""
    codes = codes_in(network)
    plain = [p for name, p in network.named_parameters() if name not in codes]
    return sum(p.numel() for p in plain if p.requires_grad), packed_in(network) + sum(p.numel() for p in plain)


def packed_in(network: nn.Module) -> int:
    """How many parameters of a network are kept in four bits."""
    return sum(part.in_features * part.out_features for part in network.modules() if isinstance(part, FourBitLinear))
