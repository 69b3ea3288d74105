"""Optimizers: they lower a loss, keep all that they know in their state, and read their options from the groups that a
task gives and a schedule changes.
"""

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lmkit.optim import decay_by_rank
from lmkit.testing.results import Failed, NotApplicable, clean, counted, difference, hold
from lmkit.testing.subject import Subject
from lmkit.testing.suite import check

KIND = (Optimizer,)
STEPS = 30


@check("two groups", KIND, "hand `params` to torch's Optimizer as it comes: groups, each with options of its own", True)
def two_groups(subject: Subject) -> str | None:
    """Matrices and vectors, the latter without decay, as every task gives them; and the rate that a schedule sets."""
    network, optimizer = _begin(subject)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    if sorted(held) != sorted(map(id, network.parameters())) or len(optimizer.param_groups) < 2:
        raise Failed("its groups do not hold each parameter once, with matrices and vectors apart")
    if any("lr" not in group for group in optimizer.param_groups):
        raise Failed("its groups have no lr, which a schedule would change", do="name it among the defaults")
    return counted(len(optimizer.param_groups), "group")


@check("lowers a loss", KIND, "subtract what leads up the gradient, and choose a default rate that does not overshoot")
def lowers(subject: Subject) -> str | None:
    """A small network on the same rows, by default options."""
    losses = _run(*_begin(subject), STEPS)
    told = f"{losses[0]:.3f} to {losses[-1]:.3f} in {STEPS} steps"
    if not losses[-1] < losses[0]:
        raise Failed("the loss of a small network does not fall", told)
    return told


@check("closure", KIND, "call `closure`, if there is one, once and with gradients enabled, and return what it gives")
def closure(subject: Subject) -> str | None:
    """Lightning gives the forward and backward pass as a closure, and needs to see it called."""
    network, optimizer = _begin(subject)
    other, by_hand = _begin(subject)
    losses: list[Tensor] = []

    def run() -> Tensor:
        optimizer.zero_grad()
        losses.append(_loss(network))
        losses[-1].backward()
        return losses[-1]

    given = optimizer.step(run)
    if len(losses) != 1 or given is not losses[0]:
        raise Failed(f"step calls the closure {counted(len(losses), 'time')} and gives a {type(given).__name__}")
    _run(other, by_hand, 1)
    hold(_apart(network, other), 0.0, "a step by a closure differs from one without")
    return None


@check("steps repeat", KIND, "draw by torch's own generator, and go through groups and parameters in their order")
def repeats(subject: Subject) -> str | None:
    """Two runs of one seed give the same weights, to the bit."""
    ends = []
    for _ in range(2):
        network, optimizer = _begin(subject)
        torch.manual_seed(1)
        _run(network, optimizer, STEPS)
        ends.append(network)
    hold(_apart(*ends), 0.0, "two runs of one seed differ")
    return counted(STEPS, "step")


@check("optimizer state", KIND, "keep all that lasts in self.state[parameter] or in the groups, as plain data")
def state(subject: Subject) -> str | None:
    """Saved and loaded into a fresh one, it takes the same next steps, to the bit."""
    network, optimizer = _begin(subject)
    _run(network, optimizer, 3)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    try:
        kept = torch.load(file, weights_only=True)
    except Exception as error:  # of what is no plain data
        raise Failed(f"its state cannot be read without running code ({clean(error)[:80]})") from error
    other = copy.deepcopy(network)
    resumed = subject.make(None, decay_by_rank(other))
    resumed.load_state_dict(kept)
    for each in ((network, optimizer), (other, resumed)):
        torch.manual_seed(1)
        _run(*each, 3)
    hold(_apart(network, other), 0.0, "after its state is loaded, the next steps differ")
    return counted(
        sum(isinstance(value, Tensor) for entry in kept["state"].values() for value in entry.values()), "tensor"
    )


@check("learning rate", KIND, 'read group["lr"] in each step, and multiply by it all that changes a weight, decay too')
def learning_rate(subject: Subject) -> str | None:
    """A schedule sets it in each group: at 0 that group stays, to the bit, and the other one moves."""
    count = len(_begin(subject)[1].param_groups)
    for still in (range(count), range(1), range(1, count)):
        network, optimizer = _begin(subject)
        _run(network, optimizer, 1)
        for index in still:
            optimizer.param_groups[index]["lr"] = 0.0
        before = _weights(optimizer)
        _run(network, optimizer, 2)
        for index, (old, new) in enumerate(zip(before, _weights(optimizer), strict=True)):
            moved = max(map(difference, old, new))
            if index in still:
                hold(moved, 0.0, "a group whose lr was set to 0 moves")
            elif moved == 0:
                raise Failed("a group stays where it is though only the lr of another one was set to 0")
    return None


@check("weight decay", KIND, 'read group["weight_decay"] in each step: the group of vectors has 0')
def weight_decay(subject: Subject) -> str | None:
    """More of it in the group of matrices changes a step of theirs, and not that of the vectors."""
    ends = []
    for decay in (0.0, 0.5):
        network, optimizer = _begin(subject)
        if "weight_decay" not in optimizer.defaults:
            raise NotApplicable("it has no option `weight_decay`")
        optimizer.param_groups[0]["weight_decay"] = decay
        optimizer.param_groups[0]["lr"] = 0.1  # so that float32 shows it
        _run(network, optimizer, 1)
        ends.append(_weights(optimizer))
    matrices, *vectors = [max(map(difference, *groups)) for groups in zip(*ends, strict=True)]
    if matrices == 0:
        raise Failed("the weight_decay of a group changes nothing")
    hold(max(vectors, default=0.0), 0.0, "the weight_decay of one group changes another")
    return None


@check("no gradient, no step", KIND, "pass over parameters whose grad is None, decay and state included")
def without_gradient(subject: Subject) -> str | None:
    """One parameter has no gradient, then none has."""
    for bare in (1, None):
        network, optimizer = _begin(subject)
        _loss(network).backward()
        parameters = [*network.parameters()]
        for parameter in parameters[:bare]:
            parameter.grad = None
        before = [parameter.detach().clone() for parameter in parameters]
        optimizer.step()
        moved = [difference(old, new) for old, new in zip(before, parameters, strict=True)]
        hold(max(moved[:bare]), 0.0, "a parameter without gradient moves")
        if bare and max(moved[bare:]) == 0:
            raise Failed("nothing moves where one parameter has no gradient")
    return None


def _begin(subject: Subject) -> tuple[nn.Module, Any]:
    """A small network, always the same one, and an optimizer of its two groups."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 8))
    return network, subject.make(None, decay_by_rank(network))


def _loss(network: nn.Module) -> Tensor:
    """Of always the same rows, each of which belongs to one of 8 classes."""
    draw = torch.Generator().manual_seed(1)
    x, target = torch.randn(64, 12, generator=draw), torch.randint(8, (64,), generator=draw)
    return nn.functional.cross_entropy(network(x), target)


def _run(network: nn.Module, optimizer: Any, steps: int) -> list[float]:
    """Takes steps; gives the losses before each, and the one at the end."""
    for group in optimizer.param_groups:  # as PyTorch's schedulers do
        group.setdefault("initial_lr", group["lr"])
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = _loss(network)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [*losses, _loss(network).item()]


def _weights(optimizer: Any) -> list[list[Tensor]]:
    """The weights of each group."""
    return [[weight.detach().clone() for weight in group["params"]] for group in optimizer.param_groups]


def _apart(one: nn.Module, other: nn.Module) -> float:
    return max(map(difference, one.parameters(), other.parameters()))
