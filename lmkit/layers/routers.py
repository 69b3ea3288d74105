"""Routers: which experts a token goes to, and how the load is kept even among them.

All of them compute in float32 at least, because a rounded score sends a token elsewhere (Fedus et al. 2021,
arXiv:2101.03961, section 2.4).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.autocast import without_autocast
from lmkit.layers.balance import row_loss, switch_loss
from lmkit.layers.experts import count
from lmkit.layers.kinds import Router, Routing
from lmkit.layers.weights import Linear


class SoftmaxRouter(Router):
    """The k experts of the largest softmax scores (Mixtral, arXiv:2401.04088, section 2.1; Qwen3-MoE), balanced by a
    loss.

    Args:
        dim: width D, given by the layer.
        experts: number of experts E, given by the layer.
        active: number of experts of a token k, given by the layer.
        normalise: whether the weights of a token's experts sum to 1, as Mixtral's and Qwen3's, or remain scores, as
            Qwen2's and OLMoE's.
        scale: multiplies the weights; DeepSeek-V2's is 16 without `normalise`.
        balance_weight: of the loss that asks for even loads (Fedus et al. 2021, arXiv:2101.03961, eq. 4, summed over
            the k choices), which is k times its weight where they are even; 0 for none.
        z_weight: of the loss that keeps the scores' logits small, the mean square of the logarithm of their summed
            exponentials (Zoph et al. 2022, arXiv:2202.08906, eq. 5); 0 for none.
        bias: whether the scores add a learned offset before the softmax, as gpt-oss's do.
    """

    def __init__(
        self,
        dim: int,
        experts: int,
        active: int,
        normalise: bool = True,
        scale: float = 1.0,
        balance_weight: float = 0.01,
        z_weight: float = 0.001,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.experts, self.active, self.normalise, self.scale = experts, active, normalise, scale
        self.balance_weight, self.z_weight = balance_weight, z_weight
        self.project = PreciseLinear(dim, experts, bias)

    def forward(self, x: Tensor) -> Routing:
        """(B, T, D) to k different experts for each token."""
        logits = self.project(x)  # (B, T, E)
        scores = logits.softmax(-1)
        weights, experts = scores.topk(self.active, dim=-1)
        if self.training:
            self.side_losses = {
                "moe_balance": self.balance_weight * switch_loss(scores, experts),
                "moe_z": self.z_weight * logits.logsumexp(-1).square().mean(),
            }
        return Routing(experts, weigh(weights, self.normalise, self.scale))


class SigmoidRouter(Router):
    """The k experts of the largest sigmoid scores (DeepSeek-V3, arXiv:2412.19437, section 2.1.2), balanced without a
    loss by a bias of each expert that enters the choice only and falls after each optimizer step in which the expert
    had more tokens than the mean (Wang et al. 2024, arXiv:2408.15664, algorithm 1).

    Args:
        dim: width D, given by the layer.
        experts: number of experts E, given by the layer.
        active: number of experts of a token k, given by the layer.
        normalise: whether the weights of a token's experts sum to `scale`.
        scale: multiplies the weights; DeepSeek-V3's is 2.5.
        rate: by which a bias rises or falls in an optimizer step; 0 for never.
        groups: parts of equal size into which the experts are divided, in order; 1 for none.
        groups_active: how many of them a token's experts come from: those whose two best scores sum to the most.
        balance_weight: of the loss that asks for even loads within each row (DeepSeek-V3, eq. 17 to 20), which is its
            weight where they are even; 0 for none.
    """

    bias: Tensor
    loads: Tensor

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models, in any combination)
        self,
        dim: int,
        experts: int,
        active: int,
        normalise: bool = True,
        scale: float = 1.0,
        rate: float = 0.001,
        groups: int = 1,
        groups_active: int = 1,
        balance_weight: float = 0.0001,
    ) -> None:
        super().__init__()
        self.active, self.normalise, self.scale, self.rate = active, normalise, scale, rate
        self.balance_weight = balance_weight
        self.project = PreciseLinear(dim, experts)
        self.limit = GroupLimit(experts, active, groups, groups_active) if groups != 1 else nn.Identity()
        self.register_buffer("bias", torch.empty(experts, dtype=torch.float32))
        self.register_buffer("loads", torch.empty(experts, dtype=torch.long), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """No bias, and nothing counted."""
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.loads)

    def forward(self, x: Tensor) -> Routing:
        """(B, T, D) to k different experts for each token."""
        scores = self.project(x).sigmoid()  # (B, T, E)
        experts = self.limit(scores.detach() + self.bias).topk(self.active, dim=-1).indices
        if self.training:
            loads = count(experts, scores.size(-1))
            self.loads += loads.sum(0)
            self.side_losses = {"moe_balance": self.balance_weight * row_loss(scores, loads)}
        return Routing(experts, weigh(scores.gather(-1, experts), self.normalise, self.scale))

    def after_step(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """Moves each bias by `rate`, down where the expert had more tokens than the mean of all, up where fewer."""
        loads = add_up(self.loads)
        self.bias += self.rate * (loads.sum() - loads * loads.size(0)).sign()
        self.loads.zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Moves as any module does, but to no dtype below float32, in which a bias would not change by a small rate."""
        before = self.bias
        super()._apply(fn, recurse)
        if self.bias.dtype.itemsize < torch.float32.itemsize:
            self.bias = before.to(self.bias.device, torch.float32)
        return self


class GroupLimit(nn.Module):
    """Leaves the scores of a token's best groups of experts, and no others (DeepSeek-V2, arXiv:2405.04434, section
    2.2.2; a group's score is the sum of its two best, as in DeepSeek-V3).

    Args:
        experts: number of experts E.
        active: number of experts of a token k.
        groups: parts of equal size.
        groups_active: how many of them a token's experts come from.
    """

    def __init__(self, experts: int, active: int, groups: int, groups_active: int) -> None:
        super().__init__()
        if groups < 1 or experts % groups:
            near = [n for n in range(1, experts + 1) if experts % n == 0]
            raise UserError(
                f"groups must divide experts, but groups is {groups} and experts is {experts}: choose groups out of "
                f"{', '.join(map(str, near))}"
            )
        self.groups, self.groups_active, size = groups, groups_active, experts // groups
        least = -(-active // size)
        if not least <= groups_active <= groups:
            raise UserError(
                f"groups_active is {groups_active}, but {active} experts of groups of {size} each need {least} or more "
                f"of the {groups} groups: choose groups_active from {least} to {groups}"
            )

    def forward(self, scores: Tensor) -> Tensor:
        """(..., E) to the same, with those of other groups at minus infinity."""
        grouped = scores.unflatten(-1, (self.groups, -1))  # (..., groups, E / groups)
        best = grouped.topk(min(2, grouped.size(-1)), dim=-1).values.sum(-1).topk(self.groups_active, dim=-1).indices
        shut = torch.ones_like(grouped[..., 0], dtype=torch.bool).scatter(-1, best, False)
        return grouped.masked_fill(shut.unsqueeze(-1), float("-inf")).flatten(-2)


class PreciseLinear(Linear):
    """`Linear` computed in float32 at least, whatever the dtype of its input, its weights or autocast."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        dtype = torch.promote_types(input.dtype, torch.float32)
        with without_autocast(input):
            return F.linear(input.to(dtype), self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype))


def weigh(weights: Tensor, normalise: bool, scale: float) -> Tensor:
    """The weights (..., k) of a token's experts, brought to a sum of 1 if wanted, and then scaled."""
    return scale * (weights / (weights.sum(-1, keepdim=True) + 1e-20) if normalise else weights)
