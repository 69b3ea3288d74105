"""References that break the contract, each in one way."""

import torch

from lmkit.tasks.references import FrozenCopy


class Copied(FrozenCopy):
    """Is sound: a second network; the others are made of it."""


class BrokenTracked(Copied):
    """Gives log-probabilities with gradients."""

    def sums(self, task, trees):
        return super().sums(task, trees).requires_grad_()


class BrokenPerToken(Copied):
    """Gives means over tokens."""

    def sums(self, task, trees):
        counts = torch.bincount(trees.owners, minlength=len(trees.roles) + 1)[:-1]
        return super().sums(task, trees) / counts


class BrokenTogether(Copied):
    """Takes what it has said of other examples into account."""

    def sums(self, task, trees):
        found = super().sums(task, trees)
        return found + 0.01 * (found.mean() - found[:2].mean())


class BrokenFollowing(Copied):
    """Reads the network that learns."""

    @torch.no_grad()
    def sums(self, task, trees):
        return task.log_probabilities(task.network, trees)[0]


class BrokenSleep(Copied):
    """Leaves the network out of training."""

    def sums(self, task, trees):
        task.network.eval()
        return super().sums(task, trees)


class BrokenDraw(Copied):
    """Draws a number."""

    def sums(self, task, trees):
        torch.rand(1)
        return super().sums(task, trees)


class BrokenKept(Copied):
    """Keeps a function that has no name."""

    def __init__(self):
        super().__init__()
        self.scale = lambda x: x
