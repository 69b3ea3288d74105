"""Feed-forwards: what each token computes by itself between two attentions."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.activations import GELU, SiLU
from lmkit.layers.kinds import Activation, FeedForward
from lmkit.layers.weights import Linear


class MLP(FeedForward):
    """Up, an activation, and down again (Vaswani et al. 2017, arXiv:1706.03762).

    Args:
        dim: width D, given by the network.
        hidden: width of the middle; none is 4 D.
        activation: the function in the middle, `GELU`, `ReLU` or `ReLUSquared`.
        bias: whether both projections add a learned offset.
    """

    shards: ClassVar[dict[str, str]] = {"up": "columns", "out": "rows"}

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        activation: Callable[[], Activation] = GELU,
        bias: bool = False,
    ) -> None:
        super().__init__()
        hidden = check_hidden(4 * dim if hidden is None else hidden)
        self.up = Linear(dim, hidden, bias)
        self.activation = activation()
        self.out = Linear(hidden, dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.out(self.activation(self.up(x)))


class Gated(FeedForward):
    """A gate multiplied into the middle (Shazeer 2020, arXiv:2002.05202): SwiGLU with `SiLU`, GeGLU with `GELU`, ReGLU
    with `ReLU`.

    Args:
        dim: width D, given by the network.
        hidden: width of the middle; none is 8/3 D, as many weights as an MLP of 4 D, rounded up to a multiple of 32.
        activation: the function of the gate, `SiLU`, `GELU` or `ReLU`.
        bias: whether the three projections add a learned offset.
    """

    shards: ClassVar[dict[str, str]] = {"gate": "columns", "up": "columns", "out": "rows"}

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        activation: Callable[[], Activation] = SiLU,
        bias: bool = False,
    ) -> None:
        super().__init__()
        hidden = check_hidden(-(-8 * dim // (3 * 32)) * 32 if hidden is None else hidden)
        self.gate = Linear(dim, hidden, bias)
        self.up = Linear(dim, hidden, bias)
        self.activation = activation()
        self.out = Linear(hidden, dim, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.out(self.activation(self.gate(x)) * self.up(x))


def check_hidden(hidden: int) -> int:
    """The width of the middle.

    Raises:
        UserError: it is none.
    """
    if hidden < 1:
        raise UserError(
            f"hidden is {hidden}: give the width of the middle, 1 or more, or leave it out for the usual one"
        )
    return hidden
