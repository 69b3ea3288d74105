"""Adapters that scale what matrices give, (IA)^3 (Liu et al. 2022, arXiv:2205.05638)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lmkit.layers.kinds import Attention, FeedForward
from lmkit.network import Network
from lmkit.optim.groups import DECAYS
from lmkit.transforms.adapter import NAME, Adapter

PUBLISHED = "as-published"
"""As targets: keys and values of attentions, and what goes into `out` of feed-forwards."""


class IA3(Adapter):
    """Multiplies each number that a matrix gives by one that learns, and that is 1 at first; of an `out`, each number
    that it takes (Liu et al. 2022, arXiv:2205.05638, section 3.3).

    Args:
        targets: patterns of modules' names, such as `blocks.*.attention.v`; `as-published` for keys, values and what
            goes into `out` of feed-forwards; `all-linear` for the matrices of all layers that are `Linear`: without
            the head, and without the routers and experts of mixtures.
        also: patterns of parameters' names, such as `*norm*` or `embedding.*`, that learn in full; none for none.
    """

    adds_up: ClassVar[bool] = False

    def __init__(self, targets: list[str] | str = PUBLISHED, also: list[str] | None = None) -> None:
        super().__init__(targets, also)

    def find(self, network: Network) -> list[str]:
        """See `Adapter`."""
        if self.targets != PUBLISHED:
            return super().find(network)
        meant = {
            f"{name}.{own}"
            for name, module in network.named_modules()
            for own in (("k", "v") if isinstance(module, Attention) else ("out",) * isinstance(module, FeedForward))
        }
        return self.among(network, meant)

    def config(self, peft: Any, targets: str) -> Any:
        """See `Adapter`."""
        return peft.IA3Config(target_modules=targets, feedforward_modules=r".*\.out")

    def settle(self, layer: Any) -> None:
        """See `Adapter`."""
        held, weight = layer.ia3_l, layer.base_layer.weight
        held[NAME] = nn.Parameter(torch.ones_like(held[NAME], device=weight.device, dtype=weight.dtype))
        held.reset_parameters = Ones(held)
        setattr(held, DECAYS, False)  # towards 0, which would switch off what it scales

    def merged(self, weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """See `Adapter`; one is (outputs, 1), or (1, inputs)."""
        return weight * parts["ia3_l"].to(weight)

    def merged_bias(self, bias: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """See `Adapter`."""
        scale = parts["ia3_l"]
        return bias * scale.to(bias).squeeze(1) if scale.size(1) == 1 else bias


def scales_inputs(module: str) -> bool:
    """Whether what a module takes is scaled, by its name: of an `out`, which writes into the stream."""
    return module.endswith(".out")


class Ones:
    """First values. An object and no closure, so that the copy of a layer fills the copy's.

    Args:
        held: what it fills.
    """

    def __init__(self, held: nn.ParameterDict) -> None:
        self.held = held

    @torch.no_grad()
    def __call__(self) -> None:
        """Fills them."""
        for parameter in self.held.values():
            parameter.fill_(1.0)
