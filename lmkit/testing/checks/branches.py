"""Several continuations of one start in one row: the start is computed once, and each is what it is behind it alone."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.layers import Attention, Position
from lmkit.network import Decoder, follows_branches
from lmkit.testing.layer import MIXING, Layer
from lmkit.testing.reading import memory, read, weights
from lmkit.testing.results import NotApplicable, hold, share, short
from lmkit.testing.suite import check

Trees = tuple[tuple[int, ...], ...]

EXACT = 1e-10
TREES: Trees = ((3, 2, 4), (2, 0), (1, 3, 1))
LONG: Trees = ((70, 90, 40, 55), (65, 0))
"""Of each document the tokens of its start, and of each branch."""


@check(
    "branches",
    (*MIXING, Position),
    "give `at` to `attend`, and tell positions of `positions` alone, or set follows_branches to False in the class",
)
def exact(subject: Layer) -> str | None:
    """A row of documents that branch equals each branch behind its start alone, gradients included, for each position
    that the layer runs with; of an attention alone in a longer row too.
    """
    worst = 0.0
    for position in subject.positions:
        network = subject.network(position)
        if not follows_branches(network):
            raise NotApplicable("it does not say that it follows branches")
        worst = max(worst, _compared(network, partial(_read, network), subject.tokens(1), TREES))
    return short(max(worst, _long(subject)) if subject.kind is Attention else worst)


def _read(network: Decoder, tokens: Tensor, place: slice, **at: Any) -> Tensor:
    states = memory(network.embedding.weight[tokens], at.get("documents"), place)
    return read(network, tokens, memory=states, **at)


def _long(subject: Layer) -> float:
    """The attention alone, without positions."""
    layer = subject.layer()

    def call(x: Tensor, place: slice, **at: Any) -> Tensor:
        at["memory"] = memory(x, at.get("documents"), place)
        return subject.call(layer, x, rotation=None, bias=None, **at)[0]

    return _compared(layer, call, subject.stream(1, sum(map(sum, LONG))), LONG)


def _compared(module: nn.Module, call: Callable[..., Tensor], row: Tensor, trees: Trees) -> float:
    """The largest difference of a row (1, T) or (1, T, D) to its branches alone, in outputs and in gradients of the
    parameters.

    Args:
        module: whose parameters they are.
        call: what it gives for tokens, or a stream, whose memory is this part, and for further fields of `At`.
        row: of documents that branch.
        trees: their lengths.
    """
    packed, alone = call(row, slice(0), **_told(trees)), list[Tensor]()
    for tree, place in _places(trees):
        start, *branches = row[:, place].split(tree, dim=1)
        parts = [call(torch.cat([start, branch], dim=1), place) for branch in branches]
        alone += [part if number == 0 else part[:, tree[0] :] for number, part in enumerate(parts)]
    apart = torch.cat(alone, dim=1)
    worst = share(packed, apart)
    hold(worst, EXACT, "branches of one document differ from the same behind their start alone")
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        return worst
    both = [
        torch.autograd.grad((y * weights(y)).sum(), parameters, allow_unused=True, materialize_grads=True)
        for y in (packed, apart)
    ]
    worst = max(worst, *(share(one, other) for one, other in zip(*both, strict=True)))
    hold(worst, EXACT, "gradients of branches of one document differ from those of the same alone")
    return worst


def _told(trees: Trees) -> dict[str, Tensor]:
    """Documents and branches (1, T)."""
    documents = [number for number, tree in enumerate(trees) for _ in range(sum(tree))]
    branches = [number for tree in trees for number, length in enumerate(tree) for _ in range(length)]
    return {"documents": torch.tensor([documents]), "branches": torch.tensor([branches])}


def _places(trees: Trees) -> Iterator[tuple[tuple[int, ...], slice]]:
    """Each document's lengths, and where it stands."""
    end = 0
    for tree in trees:
        end += sum(tree)
        yield tree, slice(end - sum(tree), end)
