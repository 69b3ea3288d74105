"""Weight-decomposed low-rank adaptation, DoRA (Liu et al. 2024, arXiv:2402.09353)."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from lmkit.transforms.adapter import NAME, fresh
from lmkit.transforms.lora import LoRA


class DoRA(LoRA):
    """LoRA of directions: each row of W + s B A is brought to a length that is learned, and is that of W's row at first
    (Liu et al. 2024, arXiv:2402.09353, eq. 5).
    """

    dora = True
    adds_up: ClassVar[bool] = False

    def settle(self, layer: Any) -> None:
        """See `Adapter`."""
        super().settle(layer)
        lengths: Any = fresh(layer.lora_magnitude_vector[NAME], layer.base_layer.weight)
        lengths.reset_parameters = Lengths(layer)
        layer.lora_magnitude_vector[NAME] = lengths

    def merged(self, weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """See `Adapter`."""
        turned = super().merged(weight, parts)
        return turned * (parts["lora_magnitude_vector"].to(weight) / lengths_of(turned)).unsqueeze(1)


class Lengths:
    """First values of the lengths, those of the rows as they are. They are made after the matrix's own, because an
    adapted layer has the matrix first. An object and no closure, so that the copy of a layer reads the copy's matrix.

    Args:
        layer: that is adapted.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    @torch.no_grad()
    def __call__(self) -> None:
        """Fills them."""
        self.layer.lora_magnitude_vector[NAME].weight.copy_(lengths_of(self.layer.base_layer.weight))


def lengths_of(weight: Tensor) -> Tensor:
    """The length of each row (outputs) of a matrix (outputs, inputs)."""
    return torch.linalg.vector_norm(weight, dim=1)
