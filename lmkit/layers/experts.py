"""Experts side by side: their matrices in one tensor, and the tokens sorted so that each expert reads its own at once.

Letters: E experts, k of them active for a token.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.layers.kernels.grouped import grouped_product
from lmkit.layers.kinds import Routing


class GroupedLinear(nn.Module):
    """A matrix for each expert, as of `Linear`, which carries the standard deviation of their initialisation.

    Args:
        experts: number of matrices E.
        inputs: width of the input I.
        outputs: width of the output O.
        bias: whether each adds a learned offset; they are one vector (E O), since matrices would decay.
        std: of the first values.
    """

    def __init__(self, experts: int, inputs: int, outputs: int, bias: bool = False, std: float = 0.02) -> None:
        super().__init__()
        self.std = std
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(experts * outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights from a normal distribution of deviation `std`, biases zero."""
        nn.init.normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, ends: Tensor) -> Tensor:
        """Rows (N, I) sorted by expert, of which those of expert e end before row ends[e], to (N, O)."""
        return add_bias(grouped_product(x, self.weight.to(x.dtype), ends), self.bias, ends)


def add_bias(rows: Tensor, bias: Tensor | None, ends: Tensor) -> Tensor:
    """Rows (N, O) sorted by expert, plus those of the biases (E O) of their experts; as they are if there are none."""
    if bias is None:
        return rows
    expert = torch.searchsorted(ends, torch.arange(rows.size(0), dtype=ends.dtype, device=ends.device), right=True)
    table = bias.to(torch.promote_types(rows.dtype, torch.float32)).view(ends.size(0), -1)
    # an embedding, whose gradients are added in one order; in float32, for many are
    return (rows + F.embedding(expert, table)).to(rows.dtype)


class Dispatch:
    """The way of tokens to their experts and back, without a limit on how many an expert takes.

    Args:
        routing: which experts each token goes to.
        experts: number of experts E.

    Attributes:
        loads: the number of tokens of each expert (E).
        ends: for each expert the row before which its rows end (E).
    """

    def __init__(self, routing: Routing, experts: int) -> None:
        self.weights = routing.weights
        self.loads = count(routing.experts, experts).sum(0)
        self.ends = self.loads.cumsum(0, dtype=torch.int32)
        self.order = routing.experts.flatten().argsort(stable=True)  # (B T k) rows to pairs of token and choice
        self.row_of = self.order.argsort()

    def spread(self, x: Tensor) -> Tensor:
        """Tokens (B, T, D) to one row for each expert of each token, sorted by expert (B T k, D)."""
        # copied before they are sorted: the gradients of a token's copies are then added in one order
        copies = x.to(_computed_in(x)).flatten(0, 1).unsqueeze(1).expand(-1, self.weights.size(-1), -1)
        return copies.flatten(0, 1).index_select(0, self.order)

    def collect(self, rows: Tensor) -> Tensor:
        """What the experts made (B T k, D), to the weighted sum for each token (B, T, D)."""
        y = rows.index_select(0, self.row_of).view(*self.weights.shape, rows.size(-1))  # (B, T, k, D)
        return (y * self.weights.unsqueeze(-1)).sum(-2).to(rows.dtype)


def count(choices: Tensor, experts: int) -> Tensor:
    """How many tokens of each row chose each expert, (B, T, k) to (B, E)."""
    rows = choices.size(0)
    first = torch.arange(rows, device=choices.device).unsqueeze(1) * experts
    slots = (choices.flatten(1) + first).flatten()
    return slots.new_zeros(rows * experts).index_add_(0, slots, torch.ones_like(slots)).view(rows, experts)


def _computed_in(x: Tensor) -> torch.dtype:
    """The dtype that autocast asks of products, which does not know the operators of others; else that of `x`."""
    device = x.device.type
    autocast = not x.is_meta and torch.is_autocast_enabled(device)  # which meta has not
    return torch.get_autocast_dtype(device) if autocast else x.dtype
