"""Means over micro-batches and ranks: sums and counts by name, which stay on the device until they are due."""

from collections.abc import Callable

import torch
from torch import Tensor


class Tally:
    """Sums and their counts, by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # no buffers, which bf16 would round

    def add(self, name: str, total: Tensor, count: Tensor) -> None:
        """Adds a sum over `count` items, both scalars; the same names on every rank."""
        here = torch.stack([total.detach().float(), count.detach().float()])
        self._sums[name] = self._sums[name] + here if name in self._sums else here

    def take(self, add_up: Callable[[Tensor], Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """The mean and the count of each, over all ranks, and begins anew.

        Args:
            add_up: gives the sum of a tensor over all ranks.
        """
        if not self._sums:
            return {}
        names, sums = list(self._sums), add_up(torch.stack(list(self._sums.values())))  # (names, 2), sent at once
        self._sums = {}
        return {name: (total / count.clamp(min=1), count) for name, (total, count) in zip(names, sums, strict=True)}
