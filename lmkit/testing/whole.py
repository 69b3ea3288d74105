"""The network under check: token ids in, hidden states and logits out."""

import inspect
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lmkit.network import FurtherHeads, Network
from lmkit.testing.further import Further
from lmkit.testing.given import VOCABULARY
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import stir
from lmkit.testing.subject import Subject


class Whole(Subject):
    """A class of the kind `Network`; see `Subject`."""

    def layer(self, seed: int = 0, **changes: Any) -> Any:
        """A network in float64 whose parameters are stirred, not in training."""
        return stir(self.make(None, **changes), seed).double().eval()

    def stream(self, rows: int = 2, time: int | None = None, seed: int = 2) -> Tensor:
        """Token ids (B, T) of texts as long as the context, but of 16 tokens at most."""
        draw = torch.Generator().manual_seed(seed)
        shape = (rows, time or min(self.size.context, self.context))
        return torch.randint(self.vocab_size, shape, generator=draw)

    def call(self, network: Any, tokens: Tensor) -> list[Tensor]:
        """Hidden states (B, T, D) and logits (B, T, V); a network that reads one row and writes another has both."""
        hidden = network(*[tokens] * self.rows)
        return [hidden, network.logits(hidden)]

    @cached_property
    def vocab_size(self) -> int:
        """Token ids that it knows."""
        return self._own("vocab_size", VOCABULARY)

    @cached_property
    def context(self) -> int:
        """The longest row that it reads."""
        return self._own("context", self.size.context)

    def _own(self, name: str, usual: int) -> int:
        """A number that the network tells of itself; whether it does is checked elsewhere."""
        number = getattr(self.make(), name, usual)
        return number if isinstance(number, int) and number > 0 else usual

    @property
    def arguments(self) -> list[str]:
        """The names of what its forward takes."""
        return [*inspect.signature(self.cls.forward).parameters][1:]  # type: ignore[attr-defined]

    @property
    def rows(self) -> int:
        """How many rows of tokens its forward cannot do without."""
        parameters = inspect.signature(self.cls.forward).parameters.values()  # type: ignore[attr-defined]
        needed = [each for each in parameters if each.default is each.empty]
        return sum(each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in needed) - 1  # but for self


MODULES = (*LAYERS, Network, FurtherHeads)
"""The kinds that are modules, and are made, stirred and called by `Layer`, `Whole` or `Further`."""

Module = Layer | Whole | Further
