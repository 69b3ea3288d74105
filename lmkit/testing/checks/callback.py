"""Callbacks: they run in every stage, only watch unless they say that they do more, and survive that a run is killed.

One that means to change training says so by `changes_training = True` in its class.
"""

import contextlib
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning import Callback
from torch import Tensor

from lmkit.network import Decoder
from lmkit.optim import Constant
from lmkit.tasks import Pretraining, Task
from lmkit.testing.given import VOCABULARY
from lmkit.testing.results import Failed, NotApplicable, counted, difference, hold
from lmkit.testing.subject import Subject
from lmkit.testing.suite import check
from lmkit.testing.toys import CONTEXT, KILLED, Killed, aside, same_generators, seed, toy_text, trainer, watch

KIND = (Callback,)
STEPS, HALF = 4, 2


@check(
    "runs", KIND, "give each hook the parameters that Lightning's has, and ask for nothing that a run may lack", True
)
def runs(subject: Subject) -> str | None:
    """A short fit with validations, then validate, test and predict."""
    with aside() as folder:
        task, data, own = _task(), toy_text(), trainer(folder, STEPS, [subject.make()])
        own.fit(task, data)
        own.validate(task, data)
        own.test(task, data)
        own.predict(task, data)
    return counted(own.global_step, "step")


@check(
    "leaves the run alone",
    KIND,
    "draw by a generator of its own, change no weight, gradient or batch; or say that it means to by "
    "`changes_training = True` in the class",
)
def watches(subject: Subject) -> str | None:
    """Losses, weights and random generators are those of a run without it."""
    with aside():
        alone, watched = _alone(), _fit(subject.make())
    common = min(len(alone.losses), len(watched.losses))  # it may end a run
    worst = _apart(alone.losses[:common], watched.losses[:common])
    same = same_generators(alone.generators, watched.generators)
    if common == STEPS:
        worst = max(worst, *map(difference, alone.weights, watched.weights))
    if getattr(subject.cls, "changes_training", False):
        raise NotApplicable(f"it means to change training, here by {worst:.1e}")
    hold(worst, 0.0, "a run with it has other losses or weights than one without")
    if common == STEPS and not same:
        raise Failed("it draws from a global random generator, or seeds it")
    return counted(common, "step")


@check(
    "goes on",
    KIND,
    "keep what lasts in state_dict(), as plain data, and take it back in load_state_dict(); neither may change the run",
)
def goes_on(subject: Subject) -> str | None:
    """A run that is killed and gone on with by a fresh one has the same losses, and ends in the same state."""
    with aside():
        whole = _fit(subject.make())
        killed = _fit(subject.make(), kill_at=HALF)
        if len(killed.losses) != HALF:
            raise NotApplicable(f"with it, a run ends after {counted(len(killed.losses), 'step')}")
        rest = _fit(subject.make(), start=killed.generators, checkpoint=KILLED)
        lost = _differing(whole.state, rest.state)
        if lost:  # but for what differs by itself, such as times
            lost -= _differing(whole.state, _fit(subject.make()).state)
    hold(_apart(whole.losses[HALF:], rest.losses), 0.0, "a run that went on with it has other losses")
    if lost:
        raise Failed(
            f"after a run went on, {', '.join(sorted(map(str, lost)))} of its state is not that of a run at once"
        )
    return counted(len(whole.state), "entry") + " of state"


class _Run(NamedTuple):
    losses: list[float]
    weights: list[Tensor]
    generators: dict[str, Any]
    state: dict[str, Any]


def _task() -> Task:
    network: Any = partial(Decoder, VOCABULARY, CONTEXT, 24, 1, 4)
    return Pretraining(network, schedule=Constant)


def _fit(
    callback: Any, start: dict[str, Any] | None = None, checkpoint: str | None = None, kill_at: int | None = None
) -> _Run:
    """A short fit in the current folder, always of the same seed, with a callback or without."""
    seed()
    task, seen = _task(), watch(start, kill_at)
    with contextlib.suppress(Killed):
        trainer(Path.cwd(), STEPS, [*filter(None, [callback]), seen]).fit(task, toy_text(), ckpt_path=checkpoint)
    weights = [parameter.detach().clone() for parameter in task.parameters()]
    return _Run(seen.losses, weights, seen.end, callback.state_dict() if callback else {})


@cache
def _alone() -> _Run:
    """A run without any callback."""
    return _fit(None)


def _differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The entries of one state that another one has not, or not so."""
    return {name for name, value in one.items() if not _same(value, other.get(name))}


def _apart(one: list[float], other: list[float]) -> float:
    return difference(torch.tensor(one), torch.tensor(other))


def _same(one: Any, other: Any) -> bool:
    """Whether two states are the same, tensors within them too."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and difference(one, other) == 0
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
