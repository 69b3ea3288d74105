"""Transforms that break the contract, each in one way."""

import torch
from torch import nn

from lmkit.network import Block
from lmkit.transforms import Freeze, Transform


class Scale(Transform):
    """Is sound: logits are multiplied by a learned number; it changes the network."""

    def __call__(self, network):
        network.logit_scale = nn.Parameter(torch.ones_like(network.head_weight[0, :1]))
        network.register_forward_hook(lambda owner, _, hidden: hidden * owner.logit_scale)
        return network


class BrokenPrecision(Transform):
    """Adds a number in float32 whatever the network is of."""

    def __call__(self, network):
        network.register_buffer("number", torch.ones(1, device=network.head_weight.device))
        return network


class BrokenClaim(Freeze):
    """Says that it changes nothing."""

    changes = "nothing"


class BrokenQuiet(Scale):
    """Says that it changes only what learns, and adds a tensor."""

    changes = "learning"


class BrokenByNumber(Transform):
    """Freezes by the numbers of tensors."""

    changes = "learning"

    def __call__(self, network):
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.mean().item() > 0)
        return network


class BrokenDevice(Transform):
    """Adds a buffer on the CPU wherever the network is."""

    def __call__(self, network):
        network.register_buffer("number", torch.ones(1, dtype=torch.float64))
        return network


class BrokenTurns(Transform):
    """Freezes another block each time."""

    changes = "learning"

    def __init__(self) -> None:
        self.turn = 0

    def __call__(self, network):
        blocks = [part for part in network.modules() if isinstance(part, Block)]
        blocks[self.turn % len(blocks)].requires_grad_(False)
        self.turn += 1
        return network


class BrokenDrawn(Transform):
    """Draws a number that no state has."""

    def __call__(self, network):
        network.embedding_scale = torch.rand(()).item()
        return network


class BrokenIdle(Transform):
    """Adds a parameter that nothing uses."""

    def __call__(self, network):
        network.idle = nn.Parameter(torch.ones_like(network.head_weight))
        return network


class BrokenLambda(Freeze):
    """Keeps a function that has no name.

    Args:
        names: patterns.
    """

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.chosen = lambda name: name in self.names


class Patterns(Freeze):
    """Is sound.

    Args:
        patterns: of names.
    """

    def __init__(self, patterns: list[str]) -> None:
        super().__init__(patterns)
