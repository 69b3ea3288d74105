"""Adapters that begin as what is largest in a matrix, PiSSA (Meng et al. 2024, arXiv:2404.02948)."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers import Linear
from lmkit.optim.groups import DECAYS
from lmkit.transforms.adapter import ALL, NAME, fresh
from lmkit.transforms.lora import LoRA

OVER = 8
"""Directions that are looked for beyond those that are taken, which makes these exact sooner."""


class PiSSA(LoRA):
    """B A of the matrix's largest singular values learns, and the rest of it stays (Meng et al. 2024, arXiv:2404.02948,
    eq. 2 to 4).

    The rest is W - B0 A0, with A and B as they were first. W is kept as it was, so that it is shared with others, and
    what is added to it is B A - B0 A0, so that A0 and B0 are kept beside A and B.

    Args:
        rank: numbers in the middle of the product; where a matrix has fewer singular values, the others stay 0.
        targets: patterns of modules' names, such as `blocks.*.attention.q`, or `all-linear` for the matrices of all
            layers that are `Linear`: without the head, and without the routers and experts of mixtures.
        also: patterns of parameters' names, such as `*norm*` or `embedding.*`, that learn in full; none for none.
        iterations: rounds in which the directions are looked for (Halko et al. 2009, arXiv:0909.4061); none finds
            them exactly, which takes minutes for matrices that are thousands of numbers wide.
    """

    def __init__(
        self,
        rank: int = 16,
        targets: list[str] | str = ALL,
        also: list[str] | None = None,
        iterations: int | None = 8,
    ) -> None:
        super().__init__(rank, float(rank), 0.0, targets, False, also)
        if iterations is not None and iterations < 1:
            raise UserError(f"iterations of PiSSA is {iterations}: give 1 or more, such as 8, or null")
        self.iterations = iterations

    def settle(self, layer: Any) -> None:
        """See `Adapter`."""
        weight = layer.base_layer.weight
        layer.lora_A[NAME] = fresh(Narrow(weight.size(1), self.rank), weight)
        layer.lora_B[NAME] = fresh(Wide(self.rank, weight.size(0)), weight)
        begin = Principal(layer, self.rank, self.iterations)
        layer.lora_B[NAME].reset_parameters = begin
        if not weight.is_meta:
            begin()

    def factors(self, parts: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `LoRA`: of twice the rank."""
        narrow = torch.cat([parts["lora_A"], parts["lora_A.first"]])
        return {"lora_A": narrow, "lora_B": torch.cat([parts["lora_B"], -parts["lora_B.first"]], dim=1)}

    def merged(self, weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """See `Adapter`."""
        return super().merged(weight, self.factors(parts))


class _Begun(Linear):
    """A matrix that learns, and what it was first."""

    first: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, std=0.0)
        setattr(self, DECAYS, False)  # towards nothing, it would take the matrix's largest part away
        self.register_buffer("first", torch.zeros_like(self.weight))

    def reset_parameters(self) -> None:
        """Zeros; `Principal` fills all at once."""
        super().reset_parameters()
        if hasattr(self, "first"):  # which is made after the matrix
            self.first.zero_()


class Narrow(_Begun):
    """A and A0 (rank, inputs)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., 2 rank)."""
        return torch.cat([F.linear(x, self.weight), F.linear(x, self.first)], dim=-1)


class Wide(_Begun):
    """B and B0 (outputs, rank)."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., 2 rank) to (..., outputs): what B A adds, less what B0 A0 would."""
        now, first = x.chunk(2, dim=-1)
        return F.linear(now, self.weight) - F.linear(first, self.first)


class Principal:
    """First values of A and B, made after the matrix's own. An object and no closure, so that the copy of a layer reads
    the copy's matrix.

    Args:
        layer: that is adapted.
        rank: singular values to take.
        iterations: rounds of the search; none for exact values.
    """

    def __init__(self, layer: Any, rank: int, iterations: int | None) -> None:
        self.layer, self.rank, self.iterations = layer, rank, iterations

    @torch.no_grad()
    def __call__(self) -> None:
        """Fills them."""
        weight = self.layer.base_layer.weight
        wide, narrow = self._directions(weight.to(torch.promote_types(weight.dtype, torch.float32)))
        for part, value in ((self.layer.lora_A[NAME], narrow), (self.layer.lora_B[NAME], wide)):
            part.weight.copy_(value)
            part.first.copy_(part.weight)

    def _directions(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """B (outputs, rank) and A (rank, inputs), each with the roots of the singular values."""
        if self.iterations is None:
            u, values, v = torch.linalg.svd(weight, full_matrices=False)
        else:
            u, values, v = torch.svd_lowrank(weight, min(self.rank + OVER, *weight.shape), self.iterations)
            v = v.mT
        root = values[: self.rank].sqrt()
        missing = self.rank - root.numel()  # of a matrix that has fewer singular values
        return F.pad(u[:, : self.rank] * root, (0, missing)), F.pad(root[:, None] * v[: self.rank], (0, 0, 0, missing))
