"""A network that starts from one with fewer token ids, because a chat template writes tokens that are new to it."""

from collections.abc import Mapping

import torch
from torch import Tensor

WORDS = ("embedding.weight", "head.weight")
"""What the names of matrices end by that have a row for each token id."""
SPREAD = 0.1
"""By how much new rows differ from one another, as a share of how much the known ones do."""


def known_rows(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A network's tensors, of which the matrices by token id are cut to the rows that the other network has.

    Args:
        own: of the network, by name.
        other: of the one that it starts from; shapes will do.
    """
    return {
        name: tensor[: other[name].size(0)] if _is_larger(name, tensor, other) else tensor
        for name, tensor in own.items()
    }


@torch.no_grad()
def fill_new_rows(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> None:
    """Gives the rows that are new their first values: the mean of the known ones, by which a new token is neither
    likely nor strange (Hewitt 2021, "Initializing new word embeddings"), each a little apart.

    Args:
        own: of the network, whose known rows are filled.
        other: of the one that it starts from; shapes will do.
    """
    for name, tensor in own.items():
        if not _is_larger(name, tensor, other):
            continue
        rows = other[name].size(0)
        known = tensor[:rows].float()
        draws = torch.Generator().manual_seed(rows)  # the same on every rank and device
        noise = torch.randn(tensor.size(0) - rows, tensor.size(1), generator=draws).to(tensor.device)
        tensor[rows:] = (known.mean(0) + SPREAD * known.std(0) * noise).to(tensor.dtype)


def _is_larger(name: str, tensor: Tensor, other: Mapping[str, Tensor]) -> bool:
    if not name.endswith(WORDS) or name not in other or tensor.dim() != 2:
        return False
    return tensor.size(0) > other[name].size(0) and tensor.shape[1:] == other[name].shape[1:]
