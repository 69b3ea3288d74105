"""The heads for later tokens under check: beside a small decoder, whose hidden states they are given."""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lmkit.network import Decoder
from lmkit.testing.given import VALUES, VOCABULARY
from lmkit.testing.reading import stir
from lmkit.testing.subject import Subject


class Further(Subject):
    """A class of the kind `FurtherHeads`; see `Subject`."""

    @cached_property
    def network(self) -> Decoder:
        """A decoder in float64, stirred, not in training."""
        network: Decoder = stir(VALUES["network"](self.size)).double().eval()
        return network

    def layer(self, seed: int = 0, **changes: Any) -> Any:
        """Heads in float64 whose parameters are stirred, not in training."""
        return stir(self.make(**changes), seed).double().eval()

    def stream(self, rows: int = 2, time: int | None = None, seed: int = 2) -> Tensor:
        """Token ids (B, T)."""
        draw = torch.Generator().manual_seed(seed)
        return torch.randint(VOCABULARY, (rows, time or self.size.context), generator=draw)

    def call(self, heads: Any, tokens: Tensor, documents: Tensor | None = None) -> list[Tensor]:
        """For each step its hidden states (B, T - k, D)."""
        return [*heads(self.network, self.network(tokens, documents), tokens, documents)]
