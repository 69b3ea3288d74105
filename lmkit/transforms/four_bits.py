"""Transforms that keep matrices in four bits, and all else as it is (QLoRA, Dettmers et al. 2023, arXiv:2305.14314)."""

from typing import Any, ClassVar, Literal

from torch import nn

from lmkit.errors import UserError
from lmkit.extra import needed
from lmkit.network import Network
from lmkit.transforms.adapter import ALL
from lmkit.transforms.four_bit_linear import Codes, FourBitLinear
from lmkit.transforms.patterns import matching
from lmkit.transforms.transform import Transform


class FourBits(Transform, Codes):
    """Replaces matrices by codes of four bits, and freezes the whole network, for an adapter that is listed after it;
    each subclass is a method.

    Args:
        targets: patterns of modules' names, such as `blocks.*.attention.q`, or `all-linear` for the matrices of all
            layers that are `Linear`: without the head, and without the routers and experts of mixtures.
        block: numbers, one after another in a row of the matrix, that share a scale.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "network"

    package: ClassVar[str]
    """That does it."""

    def __init__(self, targets: list[str] | str = ALL, block: int = 64) -> None:
        if not targets:
            own = type(self).__name__
            raise UserError(f"{own} has no targets: give patterns of names, such as blocks.*.attention.q, or {ALL}")
        self.targets, self.block = targets, block

    def __call__(self, network: Network) -> Network:
        """Puts matrices of four bits in their places, one after another, so that only one is there twice.

        Raises:
            UserError: a target matches nothing that can be quantized, or adapters are there already.
        """
        own = type(self).__name__
        if any(hasattr(module, "base_layer") or isinstance(module, FourBitLinear) for module in network.modules()):
            raise UserError(f"{own} has to come first in model.transforms, before an adapter, and once")
        names = self.find(network)
        needed(self.package, own, "quantize")
        for name in names:
            linear: Any = network.get_submodule(name)
            network.set_submodule(name, FourBitLinear(linear, self).train(linear.training))
        return network.requires_grad_(False)

    @property
    def spelling(self) -> str:
        """What decides the codes of a matrix, in words."""
        told = ", ".join(f"{name}={value}" for name, value in vars(self).items() if name != "targets")
        return f"{type(self).__name__}({told})"

    def find(self, network: Network) -> list[str]:
        """The names of the modules whose matrices it replaces, in their order.

        Raises:
            UserError: a target matches none.
        """
        own = type(self).__name__
        linear: dict[str, Any] = {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward  # none with a way of its own
            if module.weight is not network.head_weight and self.fits(*module.weight.shape)
        }
        if not linear:
            raise UserError(f"the network has no matrices that {own} could quantize: leave it out")
        if self.targets == ALL:
            return [*linear]
        patterns = [self.targets] if isinstance(self.targets, str) else self.targets
        found = matching(patterns, linear, f"{own}'s targets", "Linear that can be quantized")
        return [name for name in linear if name in found]

    def fits(self, outputs: int, inputs: int) -> bool:
        """Whether a matrix of this size can be replaced: a byte holds two numbers of a row."""
        return inputs % 2 == 0
