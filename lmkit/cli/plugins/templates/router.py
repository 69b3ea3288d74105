"""Template, a router: write here what it is, who proposed it, when, and under which arXiv number."""

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers import Linear, Router, Routing


class Template(Router):
    """The experts of the largest scores, weighed by the softmax of those.

    Args:
        dim: width D, given by the layer.
        experts: number of experts E, given by the layer.
        active: number of experts of a token k, given by the layer.
        temperature: divides the scores before the softmax.
    """

    def __init__(self, dim: int, experts: int, active: int, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise UserError(f"temperature is {temperature}: give a number above 0, such as 1")
        self.active, self.temperature = active, temperature
        self.project = Linear(dim, experts)

    def forward(self, x: Tensor) -> Routing:
        """(B, T, D) to k different experts for each token."""
        precise = self.project(x).to(torch.promote_types(x.dtype, torch.float32))
        scores, experts = precise.topk(self.active, dim=-1)  # (B, T, k)
        return Routing(experts, (scores / self.temperature).softmax(dim=-1))
