"""Which parameters decay: matrices do, vectors (norms and biases) do not, as in GPT-3 and its successors.

A module may say more of its own parameters by attributes, which stay with it when it is copied, filled or moved to
another device, as those of parameters do not: `lr_factor`, by which their learning rate is multiplied, and `decays`.
"""

from typing import Any

from torch import nn
from torch.optim import Optimizer

FACTOR = "lr_factor"
"""By what the learning rate of a module's own parameters is multiplied, and so of the group that they are in."""
DECAYS = "decays"
"""Whether a module's own matrices decay."""


def decay_by_rank(network: nn.Module) -> list[dict[str, Any]]:
    """Two groups for an optimizer: tensors of two dimensions or more, with its weight decay, and the rest, without.

    Parameters with another factor of the learning rate are in groups of their own behind these, which say it.
    """
    owners = {id(p): module for module in network.modules() for p in module.parameters(recurse=False)}
    learned = [(p, owners[id(p)]) for p in network.parameters() if p.requires_grad]
    factors = sorted({getattr(module, FACTOR, 1.0) for _, module in learned}, key=lambda factor: (factor != 1, factor))
    groups: list[dict[str, Any]] = []
    for factor in factors:
        own = [(p, module) for p, module in learned if getattr(module, FACTOR, 1.0) == factor]
        said = {} if factor == 1 else {FACTOR: factor}
        matrices = [p for p, module in own if p.ndim >= 2 and getattr(module, DECAYS, True)]
        vectors = [p for p, module in own if p.ndim < 2 or not getattr(module, DECAYS, True)]
        groups += [{"params": matrices, **said}, {"params": vectors, "weight_decay": 0.0, **said}]
    return [group for group in groups if group["params"]]


def apply_factors(optimizer: Optimizer) -> None:
    """Multiplies the learning rates of groups that have a factor, before a schedule takes them for the first ones."""
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * group.get(FACTOR, 1.0)
