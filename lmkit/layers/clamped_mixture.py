"""The mixture of experts of gpt-oss (arXiv:2508.10925, and its published code): gates do not grow without bound."""

from collections.abc import Callable

from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers.activations import QuickGELU
from lmkit.layers.kinds import Activation, Router
from lmkit.layers.mixture import MixtureOfExperts
from lmkit.layers.routers import SoftmaxRouter


class ClampedMixture(MixtureOfExperts):
    """A `MixtureOfExperts` whose middles are (up + 1) activation(gate), both clamped before.

    gpt-oss's router is `SoftmaxRouter` with `bias`.

    Args:
        dim: width D, given by the network.
        experts: number of experts E to choose from.
        active: number of experts k that a token is computed by.
        hidden: width of the middle of one expert; none for that of `MixtureOfExperts`.
        router: `SoftmaxRouter`, `SigmoidRouter` or a plugin.
        activation: the function of the experts' gates.
        bias: whether the experts' matrices add learned offsets.
        limit: gates above it are lowered to it; ups are brought between minus and plus it.
    """

    def __init__(
        self,
        dim: int,
        experts: int = 8,
        active: int = 2,
        hidden: int | None = None,
        router: Callable[[int, int, int], Router] = SoftmaxRouter,
        activation: Callable[[], Activation] = QuickGELU,
        bias: bool = True,
        limit: float = 7.0,
    ) -> None:
        super().__init__(dim, experts, active, hidden, router, activation=activation, bias=bias)
        if limit <= 0:
            raise UserError(f"limit is {limit:g}: give the most that a gate may be, above 0, such as 7")
        self.limit = limit

    def middle(self, gate: Tensor, up: Tensor) -> Tensor:
        """What the experts' first two matrices give to what their last one takes, all (B T k, hidden)."""
        return (up.clamp(-self.limit, self.limit) + 1) * self.activation(gate.clamp(max=self.limit))
