"""The table `shards`: two halves of a layer, cut as it says, add up to the whole.

`columns` cuts what a matrix gives (dimension 0 of weight and bias, or of a bare parameter), `rows` what it takes
(dimension 1 of the weight; the bias is added once), `experts` leaves a rank half of a stack of matrices. Both halves
read the same input, as on two ranks; nothing is sent, so that one process suffices.
"""

import copy
import difflib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers import Attention, FeedForward
from lmkit.testing.layer import Layer
from lmkit.testing.results import Failed, NotApplicable, difference, hold, short
from lmkit.testing.suite import check

EXACT = 1e-10
CUTS = {"columns": 0, "rows": 1}
EXPERTS = "experts"
"""The word for stacks: a rank computes what tokens ask of its own experts, here by others that give zero."""


@check(
    "two ranks", (FeedForward, Attention), "cut by columns what feeds the heads or the middle, `out` by rows", runs=True
)
def two_ranks(subject: Layer) -> str | None:
    """The outputs of the two halves, added."""
    layer, x = subject.layer(), subject.stream()
    table: Mapping[str, str] | None = getattr(layer, "shards", None)
    if table is None:
        raise NotApplicable("not declared: it has no table `shards`")
    if words := sorted(set(table.values()) - {*CUTS, EXPERTS}):
        raise Failed(f"shards says {', '.join(words)}", do=f"say one of {', '.join((*CUTS, EXPERTS))}")
    for each in (layer, *_variants(subject)):
        _check_names(each, table)
    halves = [_half(layer, table, rank) for rank in (0, 1)]
    # without biases, since each rank has those of its own heads only
    one, other, whole = (subject.call(part, x, bias=None)[0] for part in (*halves, layer))
    worst = difference(one + other, whole)
    hold(worst, EXACT, "two halves, cut by shards, do not add up to the whole")
    return short(worst)


def _variants(subject: Layer) -> Iterator[nn.Module]:
    """The layer with each option that is off, false or 0, set to on."""
    for option in subject.parameters[len(subject.given) :]:
        if type(option.default) in (bool, int) and not option.default and option.name not in subject.options:
            with suppress(UserError):  # of options that need others
                yield subject.make(**{option.name: type(option.default)(1)})


def _check_names(layer: nn.Module, table: Mapping[str, str]) -> None:
    """Looks whether each name leads to something, or to a part that the options leave out: to None, or into a module
    without parameters.
    """
    for name in table:
        part: Any = layer
        for step in name.split("."):
            if part is None or (isinstance(part, nn.Module) and not [*part.parameters()]):
                break
            if not hasattr(part, step):
                names = [one for one, _ in (*layer.named_modules(), *layer.named_parameters()) if one]
                close = difflib.get_close_matches(name, names, 3)
                meant = f"did you mean {', '.join(close)}? " if close else ""
                raise Failed(
                    f"shards names {name}, which the layer does not have", do=f"{meant}correct the name, or take it out"
                )
            part = getattr(part, step)


def _half(layer: nn.Module, table: Mapping[str, str], rank: int) -> Any:
    """A copy of a layer with only this rank's part of the tensors that the table names."""
    half = copy.deepcopy(layer)
    for name, cut in table.items():
        owner, _, last = name.rpartition(".")
        try:
            part = half.get_submodule(owner)
        except AttributeError:  # these options leave it out
            continue
        thing = getattr(part, last, None)
        if isinstance(thing, nn.Parameter):
            setattr(part, last, _cut(thing, CUTS[cut], rank, name))
        elif isinstance(thing, nn.Module) and [*thing.parameters()]:
            _cut_module(thing, cut, rank, name)
    return half


def _cut_module(part: nn.Module, cut: str, rank: int, name: str) -> None:
    weight, bias = getattr(part, "weight", None), getattr(part, "bias", None)
    if not isinstance(weight, Tensor):
        raise Failed(f"shards names {name}, which has no weight", do="name a matrix or a parameter")
    if cut == EXPERTS:
        if weight.dim() < 3 or weight.size(0) % 2:
            raise Failed(f"{name} of shape {tuple(weight.shape)} is no stack of an even number of matrices")
        part.weight = _own_experts(weight, rank)
        if isinstance(bias, Tensor):
            part.bias = _own_experts(bias, rank)
        return
    part.weight = _cut(weight, CUTS[cut], rank, name)
    if isinstance(bias, Tensor):
        part.bias = _cut(bias, 0, rank, name) if cut == "columns" else nn.Parameter(bias.detach() * (rank == 0))


def _cut(tensor: Tensor, dim: int, rank: int, name: str) -> nn.Parameter:
    if tensor.dim() <= dim or tensor.size(dim) % 2:
        raise Failed(f"{name} of shape {tuple(tensor.shape)} has no halves along dimension {dim}")
    return nn.Parameter(torch.chunk(tensor.detach(), 2, dim)[rank].clone())


def _own_experts(stack: Tensor, rank: int) -> nn.Parameter:
    """What is of one expert after the other, in which only this rank's half is not zero."""
    half = stack.size(0) // 2
    own = torch.zeros_like(stack)
    own[rank * half :][:half] = stack.detach()[rank * half :][:half]
    return nn.Parameter(own)
