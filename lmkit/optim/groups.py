"""Which parameters decay: matrices do, vectors (norms and biases) do not, as in GPT-3 and its successors."""

from typing import Any

from torch import nn


def decay_by_rank(network: nn.Module) -> list[dict[str, Any]]:
    """Two groups for an optimizer: tensors of two dimensions or more, with its weight decay, and the rest, without."""
    learned = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learned if p.ndim >= 2]},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
