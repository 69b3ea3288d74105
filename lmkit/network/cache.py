"""The past of a decoder, kept between the steps of decoding so that each token is computed once."""

import torch
from torch import Tensor


class LayerCache:
    """What one attention keeps: any tensors whose first dimension is rows and whose last but one is time, in memory
    taken once; of a layer with a window only the window; of a layer with a state of fixed size that `state`.

    Args:
        capacity: the most tokens that it will hold, unless it is grown.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self.state: tuple[Tensor, ...] = ()
        self._kept: tuple[Tensor, ...] = ()
        self._parts: dict[str, LayerCache] = {}

    def append(self, *new: Tensor, window: int | None = None) -> tuple[Tensor, ...]:
        """Adds tensors (..., T, K) after the past ones and returns all of them (..., S, K).

        Args:
            new: the tensors, each time as many and in the same order.
            window: how many tokens the layer sees; the last `window - 1` are kept then. None keeps all.
        """
        end = self.length + new[0].size(-2)
        if end > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} tokens, but {end} were given: make a larger Cache")
        seen = self._append_all(new, end) if window is None else self._append_within(new, window)
        self.length = end
        return seen

    def part(self, name: str) -> "LayerCache":
        """The cache of one of several attentions in the same layer."""
        return self._parts.setdefault(name, LayerCache(self.capacity))

    def grow(self, capacity: int) -> None:
        """Makes room for more tokens, when they come."""
        self.capacity = capacity
        for part in self._parts.values():
            part.grow(capacity)

    def select(self, rows: Tensor) -> None:
        """Goes on with these of its rows, by number, in this order."""
        self._kept = tuple(kept.index_select(0, rows) for kept in self._kept)
        self.state = tuple(part.index_select(0, rows) for part in self.state)
        for inner in self._parts.values():
            inner.select(rows)

    @property
    def bytes(self) -> int:
        """The memory that it holds."""
        own = sum(kept.untyped_storage().nbytes() for kept in (*self._kept, *self.state))
        return own + sum(part.bytes for part in self._parts.values())

    def _append_all(self, new: tuple[Tensor, ...], end: int) -> tuple[Tensor, ...]:
        if not self._kept or self._kept[0].size(-2) < end:
            room = tuple(part.new_empty(*part.shape[:-2], self.capacity, part.size(-1)) for part in new)
            for larger, kept in zip(room, self._kept, strict=False):
                larger[..., : self.length, :] = kept[..., : self.length, :]
            self._kept = room
        for kept, part in zip(self._kept, new, strict=True):
            kept[..., self.length : end, :] = part
        return tuple(kept[..., :end, :] for kept in self._kept)

    def _append_within(self, new: tuple[Tensor, ...], window: int) -> tuple[Tensor, ...]:
        if self._kept:
            new = tuple(torch.cat(pair, dim=-2) for pair in zip(self._kept, new, strict=True))
        first = max(0, new[0].size(-2) - (window - 1))
        self._kept = tuple(part[..., first:, :].clone() for part in new)  # a view would hold what is no longer seen
        return new


class Cache:
    """One `LayerCache` a block, and the positions of the next tokens.

    Args:
        depth: number of blocks.
        capacity: the most tokens that it will hold, unless it is grown.
    """

    def __init__(self, depth: int, capacity: int) -> None:
        self.layers = [LayerCache(capacity) for _ in range(depth)]
        self.length, self.capacity = 0, capacity

    def grow(self, capacity: int) -> None:
        """Makes room for more tokens, when they come."""
        self.capacity = capacity
        for layer in self.layers:
            layer.grow(capacity)

    def select(self, rows: Tensor) -> None:
        """Goes on with these of its rows, by number, in this order."""
        for layer in self.layers:
            layer.select(rows)

    @property
    def bytes(self) -> int:
        """The memory that it holds."""
        return sum(layer.bytes for layer in self.layers)

    def advance(self, time: int, device: torch.device) -> Tensor:
        """Positions (1, T) of the next `time` tokens."""
        positions = torch.arange(self.length, self.length + time, device=device)
        self.length += time
        return positions.unsqueeze(0)
