"""Callbacks that break the contract, each in one way, and some that change training on purpose."""

import random
from typing import ClassVar

import torch
from lightning import Callback


class BrokenHook(Callback):
    """Asks for what a validation does not have."""

    def on_test_end(self, trainer, pl_module):
        raise KeyError("no such thing")


class BrokenDraws(Callback):
    """Draws from Python's generator."""

    def on_train_batch_end(self, *_):
        random.random()


class BrokenNudge(Callback):
    """Changes a weight."""

    def on_train_batch_start(self, trainer, pl_module, *_):
        with torch.no_grad():
            next(pl_module.parameters()).mul_(1.01)


class BrokenForgets(Callback):
    """Counts steps and forgets its count."""

    def __init__(self) -> None:
        self.count = 0

    def on_train_batch_end(self, *_):
        self.count += 1

    def state_dict(self):
        return {"count": self.count}


class Counter(BrokenForgets):
    """Keeps its count."""

    def load_state_dict(self, state):
        self.count = state["count"]


class BrokenPlain(Counter):
    """Keeps its count in what only its own code can read."""

    def state_dict(self):
        return {"count": self.count, "self": Unread()}


class Unread:
    def __eq__(self, other):
        return isinstance(other, Unread)

    __hash__ = None


class Noise(Callback):
    """Adds noise to gradients, by a generator of its own that it keeps."""

    changes_training: ClassVar[bool] = True

    def __init__(self) -> None:
        self.draw = torch.Generator().manual_seed(0)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        for parameter in pl_module.parameters():
            parameter.grad.add_(torch.randn(parameter.shape, generator=self.draw), alpha=0.1)

    def state_dict(self):
        return {"draw": self.draw.get_state()}

    def load_state_dict(self, state):
        self.draw.set_state(state["draw"])


class BrokenAnotherNoise(Noise):
    """Keeps no generator, so that a run that goes on sees other noise."""

    def state_dict(self):
        return {}


class Early(Callback):
    """Ends a run after its first step."""

    def on_train_batch_end(self, trainer, *_):
        trainer.should_stop = True
