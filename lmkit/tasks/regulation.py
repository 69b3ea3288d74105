"""What layers that regulate themselves (`Regulated`) add to a step: losses, figures to log, and an adjustment."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from lmkit.layers.kinds import Regulated


def side_loss(network: nn.Module) -> Tensor | float:
    """The sum of all layers' own losses in the last forward, in nats a token; 0 if there are none."""
    return sum((loss for layer in _layers(network) for loss in layer.side_losses.values()), 0.0)


def figures(network: nn.Module) -> dict[str, Tensor]:
    """Means over the layers of their losses and figures in the last forward, by name."""
    found: dict[str, list[Tensor]] = {}
    for layer in _layers(network):
        for name, value in (layer.side_losses | layer.figures).items():
            found.setdefault(name, []).append(value.detach().float())
    return {name: torch.stack(values).mean() for name, values in found.items()}


def after_step(network: nn.Module, add_up: Callable[[Tensor], Tensor]) -> None:
    """Lets each layer adjust itself once an optimizer step.

    Args:
        network: whose layers.
        add_up: gives the sum of a tensor over all processes that train together.
    """
    for layer in _layers(network):
        layer.after_step(add_up)


def _layers(network: nn.Module) -> Iterator[Regulated]:
    return (module for module in network.modules() if isinstance(module, Regulated))
