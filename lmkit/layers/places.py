"""Where the tokens of packed rows stand: which part of the row they are of, and at which position in their document."""

import torch
import torch.nn.functional as F
from torch import Tensor


def firsts(*ids: Tensor) -> Tensor:
    """Where the part begins that each token is of (B, T): a part ends where one of the ids (B, T) changes."""
    opens = torch.stack([F.pad(one[:, 1:] != one[:, :-1], (1, 0)) for one in ids]).any(0)
    return (torch.arange(opens.size(1), device=opens.device) * opens).cummax(dim=1).values


def places(documents: Tensor, branches: Tensor | None = None) -> Tensor:
    """The position of each token within its document (B, T).

    Args:
        documents: the document of each token (B, T), never falling along a row.
        branches: of each token (B, T), 0 for what the branches of a document share, which comes first. Each branch
            counts on from there. None if there are none.
    """
    index = torch.arange(documents.size(1), device=documents.device)
    first = firsts(documents)
    if branches is None:
        return index - first
    shared = (branches == 0).long()
    number = shared.cumsum(1)
    number = number - (number - shared).gather(1, first)  # of shared tokens in the document, up to this one
    return number + torch.where(shared.bool(), -1, index - firsts(documents, branches))
