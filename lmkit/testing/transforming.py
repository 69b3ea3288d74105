"""The transform under check: done to small networks, on the CPU and on meta."""

import typing
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from lmkit.network import EncoderDecoder, Network, PreNorm
from lmkit.testing.given import VOCABULARY, Size
from lmkit.testing.parts import network_of
from lmkit.testing.reading import stir
from lmkit.testing.results import Failed, NotApplicable, clean
from lmkit.testing.subject import Subject
from lmkit.transforms import Transform

WORDS: dict[str, Any] = {"names": ["embedding.*"]}
"""Values of options without default, by their names, where any word would not do."""


class Transforming(Subject):
    """A class of the kind `Transform`; see `Subject`."""

    @contextmanager
    def beside(self) -> Iterator[None]:
        """It needs nothing beside it."""
        yield

    def network(self, seed: int = 0) -> Network:
        """One in float64 of the class that `__call__` asks for, a decoder as a rule, with dropout, stirred."""
        try:
            asked = typing.get_type_hints(self.cls.__call__).get("network")
        except NameError:
            asked = None
        asked = asked if isinstance(asked, type) and issubclass(asked, Network) else Network
        torch.manual_seed(seed)
        network: Network = network_of(asked, self.size, block=partial(PreNorm, dropout=0.1))()
        return stir(network, seed).double()

    def transformed(self, part: Transform | None = None, network: Network | None = None) -> Network:
        """A network after a transform."""
        part, network = part or self.make(), network or self.network()
        if self._unsuited:
            raise NotApplicable(self._unsuited)
        found = part(network)
        if not isinstance(found, Network):
            raise Failed(f"it gives a {type(found).__name__}", do="end its __call__ with `return network`")
        return found

    @cached_property
    def _unsuited(self) -> str:
        """Why options that the kit has chosen do not suit its network; empty if they do."""
        chosen = sorted(self.options.keys() - self.named.keys())
        try:
            self.make()(self.network()) if chosen else None
        except Exception as error:
            return f"with {', '.join(chosen)} of the kit's choice it fails ({clean(error)}): name that by --options"
        return ""

    def tokens(self) -> Tensor:
        """Token ids (B, T), always the same ones."""
        return torch.randint(VOCABULARY, (2, self.size.context), generator=torch.Generator().manual_seed(1))

    def call(self, network: Any, tokens: Tensor | None = None) -> Tensor:
        """Logits (B, T, V), by one seed."""
        torch.manual_seed(1)
        tokens = self.tokens() if tokens is None else tokens
        rows = 2 if isinstance(network, EncoderDecoder) else 1
        logits: Tensor = network.logits(network(*[tokens] * rows))
        return logits

    def _options(self, size: Size) -> dict[str, Any]:
        options = super()._options(size)
        return {name: WORDS.get(name, value) if name not in self.named else value for name, value in options.items()}
