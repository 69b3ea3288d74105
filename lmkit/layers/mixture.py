"""A mixture of experts: a feed-forward of many parts, of which each token uses a few (Shazeer et al. 2017,
arXiv:1701.06538).
"""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.activations import SiLU
from lmkit.layers.experts import Dispatch, GroupedLinear
from lmkit.layers.feed_forwards import Gated
from lmkit.layers.gates import NoGate, OutputGate
from lmkit.layers.kinds import Activation, FeedForward, Regulated, Router
from lmkit.layers.routers import SoftmaxRouter


class MixtureOfExperts(FeedForward, Regulated):
    """Each token is computed by the few experts that a router chooses for it, each a feed-forward as `Gated`; none is
    dropped, however many choose the same (MegaBlocks, Gale et al. 2022, arXiv:2211.15841).

    In training it leaves two figures: `moe_busiest`, the largest load over the mean, and `moe_idle`, the share of
    experts that no token chose.

    Args:
        dim: width D, given by the network.
        experts: number of experts E to choose from.
        active: number of experts k that a token is computed by.
        hidden: width of the middle of one expert; none for 8/3 D over the number of experts that compute a token,
            rounded up to a multiple of 32, so that a token costs as much as with `Gated`.
        router: `SoftmaxRouter`, `SigmoidRouter` or a plugin.
        shared: number of further experts, as one of their summed width, that compute every token (DeepSeekMoE,
            arXiv:2401.06066, section 3.2).
        shared_gated: whether what they give is multiplied, token by token, with a sigmoid of the input (Qwen2-MoE,
            arXiv:2407.10671, section 2.2.2).
        activation: the function of the experts' gates, `SiLU` or `GELU`.
        bias: whether the experts' matrices add learned offsets, those of the shared ones too.
    """

    shards: ClassVar[dict[str, str]] = {
        "gate": "experts",
        "up": "experts",
        "out": "experts",
        "shared.expert.gate": "columns",
        "shared.expert.up": "columns",
        "shared.expert.out": "rows",
    }

    def __init__(  # noqa: PLR0913, PLR0917 (each is a fact of published models, in any combination)
        self,
        dim: int,
        experts: int = 8,
        active: int = 2,
        hidden: int | None = None,
        router: Callable[[int, int, int], Router] = SoftmaxRouter,
        shared: int = 0,
        shared_gated: bool = False,
        activation: Callable[[], Activation] = SiLU,
        bias: bool = False,
    ) -> None:
        super().__init__()
        check_numbers(experts, active, hidden, shared, shared_gated)
        hidden = -(-8 * dim // (3 * 32 * (active + shared))) * 32 if hidden is None else hidden
        self.experts = experts
        self.router = router(dim, experts, active)
        self.gate = GroupedLinear(experts, dim, hidden, bias)
        self.up = GroupedLinear(experts, dim, hidden, bias)
        self.activation = activation()
        self.out = GroupedLinear(experts, hidden, dim, bias)
        self.shared = Shared(dim, shared * hidden, shared_gated, activation, bias) if shared else NoShared()

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        dispatch = Dispatch(self.router(x), self.experts)
        if self.training:
            self.figures = describe(dispatch.loads)
        rows, ends = dispatch.spread(x), dispatch.ends  # (B T k, D)
        rows = self.middle(self.gate(rows, ends), self.up(rows, ends))
        return self.shared(dispatch.collect(self.out(rows, ends)), x)

    def middle(self, gate: Tensor, up: Tensor) -> Tensor:
        """What the experts' first two matrices give to what their last one takes, all (B T k, hidden)."""
        return self.activation(gate) * up


class Shared(nn.Module):
    """Adds what an expert gives that computes every token.

    Args:
        dim: width D.
        hidden: width of its middle.
        gated: whether it is multiplied with a sigmoid of the input.
        activation: the function of its gate.
        bias: whether its projections add a learned offset.
    """

    def __init__(self, dim: int, hidden: int, gated: bool, activation: Callable[[], Activation], bias: bool) -> None:
        super().__init__()
        self.expert = Gated(dim, hidden, activation, bias)
        self.gate = OutputGate(dim, 1) if gated else NoGate()

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """What the chosen experts gave and the input, both (B, T, D), to (B, T, D)."""
        return y + self.gate(self.expert(x), x)


class NoShared(nn.Module):
    """Leaves what the chosen experts gave."""

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """Gives the first."""
        return y


def describe(loads: Tensor) -> dict[str, Tensor]:
    """The figures of a number of tokens for each expert (E)."""
    return {
        "moe_busiest": loads.max() * loads.size(0) / loads.sum().clamp(min=1),
        "moe_idle": (loads == 0).float().mean(),
    }


def check_numbers(experts: int, active: int, hidden: int | None, shared: int, shared_gated: bool) -> None:
    """Looks whether the numbers of a mixture fit each other.

    Raises:
        UserError: they do not.
    """
    if not 1 <= active <= experts:
        raise UserError(
            f"active is {active} and experts is {experts}: choose active, the experts of one token, from 1 to experts"
        )
    if hidden is not None and hidden < 1:
        raise UserError(
            f"hidden is {hidden}: give the width of one expert, 1 or more, or leave it out for that of Gated"
        )
    if shared < 0:
        raise UserError(f"shared is {shared}: give the number of experts that compute every token, or 0 for none")
    if shared_gated and not shared:
        raise UserError("shared_gated is true, but shared is 0: set shared to 1 or more, or leave out shared_gated")
