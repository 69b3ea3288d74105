"""Template, a feed-forward: write here what it is, who proposed it, when, and under which arXiv number."""

from collections.abc import Callable

from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers import GELU, Activation, FeedForward, Linear


class Template(FeedForward):
    """Up, an activation, and down again.

    Args:
        dim: width D, given by the network.
        hidden: width of the middle; none is 4 D.
        activation: the function in the middle.
    """

    def __init__(self, dim: int, hidden: int | None = None, activation: Callable[[], Activation] = GELU) -> None:
        super().__init__()
        hidden = 4 * dim if hidden is None else hidden
        if hidden < 1:
            raise UserError(f"hidden is {hidden}: give the width of the middle, 1 or more, or leave it out for 4 D")
        self.up = Linear(dim, hidden)
        self.activation = activation()
        self.out = Linear(hidden, dim)  # called so, because the block makes its first values smaller

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.out(self.activation(self.up(x)))
