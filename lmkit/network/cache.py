"""The past of a decoder, kept between the steps of decoding so that each token is computed once."""

import torch
from torch import Tensor


class LayerCache:
    """What one attention keeps: any tensors with time as their last dimension but one, in memory taken once.

    Args:
        capacity: the most tokens that it will hold.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._kept: tuple[Tensor, ...] = ()

    def append(self, *new: Tensor) -> tuple[Tensor, ...]:
        """Adds tensors (..., T, K) after the past ones and returns views of all of them (..., S, K)."""
        end = self.length + new[0].size(-2)
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens, but {end} were given: make a larger Cache")
        if not self._kept:
            self._kept = tuple(part.new_empty(*part.shape[:-2], self.capacity, part.size(-1)) for part in new)
        for kept, part in zip(self._kept, new, strict=True):
            kept[..., self.length : end, :] = part
        self.length = end
        return tuple(kept[..., :end, :] for kept in self._kept)


class Cache:
    """One `LayerCache` a block, and the positions of the next tokens.

    Args:
        depth: number of blocks.
        capacity: the most tokens that it will hold.
    """

    def __init__(self, depth: int, capacity: int) -> None:
        self.layers = [LayerCache(capacity) for _ in range(depth)]
        self.length = 0

    def advance(self, time: int, device: torch.device) -> Tensor:
        """Positions (1, T) of the next `time` tokens."""
        positions = torch.arange(self.length, self.length + time, device=device)
        self.length += time
        return positions.unsqueeze(0)
