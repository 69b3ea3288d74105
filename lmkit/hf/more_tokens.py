"""A network that starts from one with fewer token ids, because a chat template writes tokens that are new to it."""

from collections.abc import Mapping

import torch
from torch import Tensor

WORDS = ("embedding.weight", "head.weight")
"""What the names of matrices end by that have a row for each token id."""
SPREAD = 0.1
"""By how much new rows differ from one another, as a share of how much the known ones do."""


def known_rows(own: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors, of which the matrices by token id are cut to the rows that its start has.

    Args:
        own: of the network, by name.
        start: of what it starts from; shapes will do.
    """
    return {
        name: tensor[: start[name].size(0)] if _is_larger(name, tensor, start) else tensor
        for name, tensor in own.items()
    }


@torch.no_grad()
def fill_new_rows(own: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> None:
    """Gives the rows of a network that are new to it their first values.

    Args:
        own: of the network, whose known rows are filled.
        start: of what it starts from; shapes will do.
    """
    for name, tensor in own.items():
        if _is_larger(name, tensor, start):
            rows = start[name].size(0)
            tensor[rows:] = _new_rows(tensor[:rows], tensor.size(0) - rows)


def with_new_rows(start: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a start, with first values of the rows that a network has beyond them.

    Args:
        start: what the network starts from.
        own: of the network; shapes will do.
    """
    return {
        name: torch.cat([tensor, _new_rows(tensor, own[name].size(0) - tensor.size(0))])
        if name in own and _is_larger(name, own[name], start)
        else tensor
        for name, tensor in start.items()
    }


def with_rows_of(wider: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors, with the rows of a wider one where they end before.

    Args:
        wider: of the network with more token ids.
        own: of the other.
    """
    return {
        name: torch.cat([tensor, wider[name][tensor.size(0) :].to(tensor.dtype)])
        if name in wider and _is_larger(name, wider[name], own)
        else tensor
        for name, tensor in own.items()
    }


def _new_rows(known: Tensor, count: int) -> Tensor:
    """First values of rows (count, D): the mean of the known ones, by which a new token is neither likely nor strange
    (Hewitt 2021, "Initializing new word embeddings"), each a little apart.
    """
    draws = torch.Generator().manual_seed(len(known))  # the same each time, on every rank and device
    noise = torch.randn(count, known.size(1), generator=draws).to(known.device)
    rows = known.float()
    return (rows.mean(0) + SPREAD * rows.std(0) * noise).to(known.dtype)


def _is_larger(name: str, tensor: Tensor, start: Mapping[str, Tensor]) -> bool:
    """Whether a network's tensor is a matrix by token id with more rows than that of its start."""
    if not name.endswith(WORDS) or name not in start or tensor.dim() != 2:
        return False
    return tensor.size(0) > start[name].size(0) and tensor.shape[1:] == start[name].shape[1:]
