"""The past of a batch, for `generate`: lmkit's own cache, one for all rows that have equally much padding before them.

A cache of lmkit holds the past of rows that start at the same column. Padding would be part of what fixed-size states
and windows remember, so rows are not padded but read in groups: each row gets what it would get alone.
"""

from copy import copy, deepcopy
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lmkit.network.cache import Cache


class Group(NamedTuple):
    """Rows of equal padding, read together."""

    rows: Tensor
    """Their numbers in the batch, rising."""
    padding: int
    """Columns before their first token."""
    cache: Cache


class LmkitPast:
    """What `past_key_values`, or `cache`, is.

    Args:
        network: whose past it is.
        padding: for each row the columns of padding before its first token.
    """

    is_compileable = False  # asked by `generate`

    def __init__(self, network: Any, padding: list[int]) -> None:
        self.network, self.length = network, 0
        widths = torch.tensor(padding, device=network.embedding.weight.device)
        self.groups = [
            Group((widths == width).nonzero()[:, 0], width, network.cache(1)) for width in sorted(set(padding))
        ]

    def __deepcopy__(self, memo: dict[int, Any]) -> "LmkitPast":
        """Another past of the same rows and the same network, from which each can go on by itself."""
        twin = copy(self)
        memo |= {id(self): twin, id(self.network): self.network}
        twin.groups = deepcopy(self.groups, memo)
        return twin

    def read(self, tokens: Tensor) -> Tensor:
        """The tokens that come next (B, T) to hidden states (B, T, D), zeros where there is padding.

        Raises:
            ValueError: a row is longer than the network's context.
        """
        found = [self._read_group(group, tokens) for group in self.groups]
        self.length += tokens.size(1)
        if len(found) == 1:
            return found[0]
        return torch.cat(found)[torch.cat([group.rows for group in self.groups]).argsort()]

    def check(self, tokens: Tensor, mask: Tensor | None, positions: Tensor | None) -> None:
        """Looks whether tokens that come next (B, T) continue these rows.

        Raises:
            ValueError: they are others, padded, or said to stand elsewhere.
        """
        rows = sum(len(group.rows) for group in self.groups)
        if tokens.size(0) != rows:
            raise ValueError(f"past_key_values are of {rows} rows, but {tokens.size(0)} are to be continued")
        if mask is not None:
            columns = torch.arange(mask.size(1), device=mask.device) + self.length + tokens.size(1) - mask.size(1)
            for group in self.groups:
                if (mask[group.rows].bool() != (columns >= group.padding)).any():
                    raise ValueError(
                        f"attention_mask is not what the past was read with, {group.padding} columns of padding and "
                        "then tokens only: give the same one, with 1 for each new token"
                    )
        if positions is not None:
            for group in self.groups:
                start = self.length - group.padding
                here = positions.expand(rows, -1)[group.rows]
                if (here != torch.arange(start, start + tokens.size(1), device=here.device)).any():
                    raise ValueError(f"position_ids do not go on from the past, whose next position is {start}")

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns read so far, padding included."""
        return self.length

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Goes on with other rows, each of which has to have the padding of that whose place it takes, as beams do."""
        for group in self.groups:
            chosen = beam_idx.to(group.rows.device)[group.rows]
            places = torch.searchsorted(group.rows, chosen).clamp(max=len(group.rows) - 1)
            if (group.rows[places] != chosen).any():
                raise ValueError("a row cannot go on from one with other padding: give rows of one length")
            group.cache.select(places)

    def _read_group(self, group: Group, tokens: Tensor) -> Tensor:
        padding = max(0, group.padding - self.length)
        after = group.cache.length + tokens.size(1) - padding
        if after > self.network.context:
            raise ValueError(
                f"a row grows to {after} tokens, but this model reads {self.network.context} "
                "(max_position_embeddings): shorten it, or generate fewer tokens"
            )
        if after > group.cache.capacity:
            room = 2 * after if group.cache.length else after
            group.cache.grow(min(self.network.context, room))
        rows = tokens if len(self.groups) == 1 else tokens[group.rows]
        return F.pad(self.network(rows[:, padding:], cache=group.cache), (0, 0, padding, 0))


def has_tokens(past: Any) -> bool:
    """Whether there is a past; an empty one of another class, as transformers hands around, is none.

    Raises:
        ValueError: it is of another model.
    """
    if past is None or isinstance(past, LmkitPast):
        return past is not None
    if past.get_seq_length():
        raise ValueError(f"past_key_values is a {type(past).__name__}, but this model goes on from its own only")
    return False
