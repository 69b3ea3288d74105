"""The kinds of layer: one abstract class each. To subclass a kind is to register: its class name works in YAML.

Letters used for shapes everywhere: B batch, T time (tokens of a row), S time of the keys (past and present),
D width (`dim`), H heads, K width of one head, V vocabulary; in mixtures E experts, k of them active for a token.

A layer is an ordinary `nn.Module` whose constructor signature is its configuration. What comes first in the signature
is given by the network; the rest is the user's. A layer that owns a tensor has a `reset_parameters` that reads its own
attributes only, because a network built on the meta device is filled later, parents first.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn


class Past(Protocol):
    """What one attention layer keeps between the steps of decoding; made and handed over by the network."""

    state: tuple[Tensor, ...]
    """Tensors of a layer whose past has one size for all lengths; empty before the first tokens."""

    def append(self, *new: Tensor, window: int | None = None) -> tuple[Tensor, ...]:
        """Adds tensors (..., T, K) after the past ones and returns all of them (..., S, K).

        With a window, the last `window - 1` tokens are kept, so that S is at most T + window - 1.
        """
        ...

    def part(self, name: str) -> "Past":
        """The past of one of several attentions in the same layer."""
        ...


class Memory(NamedTuple):
    """What an encoder has read, for the attentions of a decoder that look there."""

    states: Tensor
    """(B, S, D)."""
    documents: Tensor | None
    """The document of each state (B, S), as the queries' own are numbered, below 0 for padding, which nothing looks at;
    none if a row is one."""


class Rotation(NamedTuple):
    """By what the first R numbers of queries and keys are rotated."""

    cos: Tensor
    """(B or 1, 1, T, R)."""
    sin: Tensor
    """(B or 1, 1, T, R)."""
    whole: bool = False
    """Whether it is meant for whole heads, so that heads of another width are a mistake."""


@dataclass(frozen=True)
class At:
    """Where the tokens of one forward stand: made once by the position, handed to every layer.

    Attributes:
        rotation: cosines and sines, which rotate the first R numbers of queries and keys.
        bias: maps the distance query minus key (T, S) to what is added to the scores (H, T, S).
        documents: the document that each token belongs to (B, T); attention stays within it.
        cache: the past of the layer that is asked.
        causal: whether a token sees only itself and what comes before it.
        memory: what an encoder has read.
        branches: the branch of its document that each token belongs to (B, T), for several continuations of one start:
            first come the tokens of branch 0, which all branches share, then the others, one branch after another. A
            token sees branch 0 and its own. With documents, causal, and without a cache only.
        masks: those that `attend` has made in this forward, for the layers to come.
    """

    rotation: Rotation | None = None
    bias: Callable[[Tensor], Tensor] | None = None
    documents: Tensor | None = None
    cache: Past | None = None
    causal: bool = True
    memory: Memory | None = None
    branches: Tensor | None = None
    masks: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


class Regulated(nn.Module):
    """A layer that regulates itself beside the loss, as a mixture of experts balances its load.

    Each forward in training leaves `side_losses`, scalars in nats a token that are added to the loss, already weighted,
    and `figures`, scalars to be logged. A training loop adds up the former and calls `after_step` once after each
    optimizer step; `Task` does both. Activations may be recomputed in the backward pass, but not by the reentrant kind,
    whose first forward has no graph.
    """

    side_losses: dict[str, Tensor]
    figures: dict[str, Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.side_losses, self.figures = {}, {}

    def __getstate__(self) -> dict[str, Any]:
        """For copies, which are without what the last forward left: tensors of its graph, that cannot be copied."""
        return {**super().__getstate__(), "side_losses": {}, "figures": {}}

    def after_step(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """Adjusts itself after an optimizer step.

        Args:
            add_up: gives the sum of a tensor over all processes that train together.
        """


class Routing(NamedTuple):
    """Where tokens go in a mixture of experts."""

    experts: Tensor
    """The k experts that each token chose (B, T, k), in [0, E)."""
    weights: Tensor
    """Of what each of them gives, (B, T, k)."""


class Activation(nn.Module, ABC):
    """An elementwise function; constructed without arguments from the network."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""


class Norm(nn.Module, ABC):
    """Normalises the last dimension; constructed with `dim`."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""


class FeedForward(nn.Module, ABC):
    """Works on each token by itself; constructed with `dim`. The projection back to the stream is called `out`."""

    out: nn.Module

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""


class Router(Regulated, ABC):
    """Chooses experts for each token; constructed with `dim, experts, active`, which are D, E and k."""

    @abstractmethod
    def forward(self, x: Tensor) -> Routing:
        """(B, T, D) to k different experts for each token."""


class Attention(nn.Module, ABC):
    """Mixes tokens with earlier ones; constructed with `dim, heads`. The projection to the stream is called `out`."""

    reads_memory: ClassVar[bool] = False
    """Whether it looks at what an encoder has read, so that it works in the decoder of an `EncoderDecoder` only."""

    hears_position: ClassVar[bool] = True
    """Whether it heeds the rotation and the bias of `At`, which one that orders tokens by itself may leave alone."""

    follows_branches: ClassVar[bool] = False
    """Whether it heeds the branches of `At`, as one does that gives `at` to `attend`; else a network refuses them."""

    out: nn.Module

    @abstractmethod
    def forward(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""


class Position(nn.Module, ABC):
    """Tells the network the order of its tokens; constructed with `dim, heads, context`."""

    both_ways: bool | None = None
    """Whether it is made for layers that see later tokens too, as an encoder's; none if for any."""

    follows_branches: bool = True
    """Whether what it says of a token depends on that token's position only, so that it is the same for all branches
    of a document; else a network refuses these."""

    @abstractmethod
    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, At]:
        """Embeddings (B, T, D) and positions within the document (B or 1, T) to embeddings and an `At`."""
