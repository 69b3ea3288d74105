"""Template, a network: write here what it is, who proposed it, when, and under which arXiv number."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from lmkit.network import Decoder


class Template(Decoder):
    """A decoder whose last block is also given what the first has made, the last but one what the second has, and so
    on to the middle, as in U-ViT (Bao et al. 2022, arXiv:2209.12152), but added instead of concatenated."""

    def read(self, tokens: Tensor, positions: Tensor, caches: Sequence[Any] | None = None, **at: Any) -> Tensor:
        """Token ids (B, T) at positions (B or 1, T) to hidden states (B, T, D)."""
        x, ats = self.embed(tokens, positions, **at)
        reach, made = (len(self.blocks) - 1) // 2, list[Tensor]()  # one block in the middle, or two
        for number, block in enumerate(self.blocks):
            if number >= len(self.blocks) - reach:
                x = x + made.pop()
            x = block(x, replace(ats[number], cache=caches[number]) if caches else ats[number])
            if number < reach:
                made.append(x)
        return self.norm(x)
