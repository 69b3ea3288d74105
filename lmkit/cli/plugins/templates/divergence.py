"""Template, a divergence: write here what it is, who proposed it, when, and under which arXiv number."""

import math

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.losses import Divergence, forward_kl


class Template(Divergence):
    """Jensen and Shannon's, of both from what lies between them (generalized, Agarwal et al. 2023, arXiv:2306.13649,
    eq. 1).

    Args:
        share: of the teacher in what lies between, above 0 and below 1.
        temperature: above 0; by which the logits of both are divided.
    """

    def __init__(self, share: float = 0.5, temperature: float = 1.0) -> None:
        if not 0 < share < 1:
            raise UserError(f"share is {share}: give a share above 0 and below 1")
        if temperature <= 0:
            raise UserError(f"temperature is {temperature}: give a number above 0")
        self.share, self.temperature = share, temperature

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Log-probabilities (N, V) of both to nats a token (N): 0 where they agree, above 0 elsewhere."""
        between = torch.logaddexp(teacher + math.log(self.share), student + math.log(1 - self.share))
        return self.share * forward_kl(between, teacher) + (1 - self.share) * forward_kl(between, student)
