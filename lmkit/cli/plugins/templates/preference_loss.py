"""Template, a preference loss: write here what it is, who proposed it, when, and under which arXiv number."""

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.losses import Completions, PreferenceLoss


class Template(PreferenceLoss):
    """A hinge on by how much more the chosen completion gains than the rejected one (SLiC-HF, arXiv:2305.10425).

    Args:
        beta: above 0; a pair is satisfied once the gains are 1 / beta nats apart.
    """

    needs_reference = True

    def __init__(self, beta: float = 0.1) -> None:
        if beta <= 0:
            raise UserError(f"beta is {beta}: give a number above 0")
        self.beta = beta

    def __call__(self, completions: Completions) -> Tensor:
        """A loss for each pair (P,), whose mean is the loss of a batch."""
        chosen, rejected = completions.pairs(completions.log_ratios())
        return torch.relu(1 - self.beta * (chosen - rejected))

    def rewards(self, completions: Completions) -> Tensor:
        """The reward (C,) that the model gives each completion, to be logged."""
        return (self.beta * completions.log_ratios()).detach()
