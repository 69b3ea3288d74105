"""Sampling: from logits to the next token."""

import torch
from torch import Tensor

from lmkit.errors import UserError


class Sampler:
    """Draws the next token of each row.

    Args:
        temperature: divides the logits; 0 always takes the most likely token.
        top_k: draw among the k most likely tokens only; none for all.
        top_p: draw among the fewest tokens whose probabilities reach p, in (0, 1] (Holtzman et al. 2019,
            arXiv:1904.09751); none for all.
        seed: of the draws; none for a new one each time.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> None:
        if temperature < 0:
            raise UserError(f"temperature is {temperature}, but it divides the logits: give 0 (greedy) or more")
        if top_k is not None and top_k < 1:
            raise UserError(f"top_k is {top_k}, but it is a number of tokens: give 1 or more, or leave it out")
        if top_p is not None and not 0 < top_p <= 1:
            raise UserError(f"top_p is {top_p}, but it is a share: give more than 0 and at most 1, or leave it out")
        if seed is not None and not 0 <= seed < 2**63:
            raise UserError(f"seed is {seed}: give a number from 0 to 2^63 - 1, or leave it out")
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self._draws = torch.Generator()  # on the CPU, so that every device draws the same
        if seed is None:
            self._draws.seed()
        else:
            self._draws.manual_seed(seed)

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits (B, V) to ids (B)."""
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        probabilities = self.probabilities(logits).cpu()
        return torch.multinomial(probabilities, 1, generator=self._draws).squeeze(-1).to(logits.device)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (B, V) to the probabilities that are drawn from (B, V), in float32."""
        logits = logits.float() / self.temperature
        if self.top_k is not None and self.top_k < logits.size(-1):
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, float("-inf"))
        probabilities = logits.softmax(dim=-1)
        if self.top_p is None or self.top_p == 1:
            return probabilities
        ordered, ids = probabilities.sort(dim=-1, descending=True)
        beyond = ordered.cumsum(dim=-1) - ordered >= self.top_p  # the mass before a token already reaches p
        kept = torch.zeros_like(ordered).scatter(-1, ids, ordered.masked_fill(beyond, 0.0))
        return kept / kept.sum(dim=-1, keepdim=True)
