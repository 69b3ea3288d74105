"""Tasks: the loss is a sum over valid tokens with their number, its gradients reach the network, and runs repeat."""

from typing import Any

import torch
from torch import Tensor

from lmkit.data.packing import IGNORE, Batch
from lmkit.tasks import Task
from lmkit.testing.given import STEPS
from lmkit.testing.reading import seeded
from lmkit.testing.results import Failed, counted, difference, finite, hold, short
from lmkit.testing.suite import check
from lmkit.testing.tasking import Tasking
from lmkit.testing.toy_data import toy_data
from lmkit.testing.toys import CONTEXT, aside, own_cache, seed, trainer, watch

KIND = (Task,)
CLOSE = 1e-4
"""Of a loss in float32: the most that the order of its sum may change, as a share of it."""
ROWS = 8
PAST = 1000
"""The number of a row past the last one."""


@check("rehearses", KIND, "build the network in build(), and say in states() how a row of tokens goes through it", True)
def rehearses(subject: Tasking) -> str | None:
    """Its network is built on the meta device before a run, and the FLOPs of a token are counted there."""
    task = subject.make()
    task.rehearse(STEPS)
    flops = task.flops_per_token(CONTEXT)
    if not flops > 0:
        raise Failed(f"it counts {flops} FLOPs a token")
    return f"{flops:,.0f} FLOP a token"


@check("rows add up", KIND, "give the sum of the losses of valid tokens, and their number; take no mean over the batch")
def rows(subject: Tasking) -> str | None:
    """The rows' losses and numbers, each row alone, add up to those of the batch."""
    task, held = subject.built(), subject.rows()
    whole, count = _loss(task, held.batch(range(ROWS)))
    alone = [_loss(task, held.batch([index])) for index in range(ROWS)]
    if (number := sum(count for _, count in alone)) != count:
        raise Failed(f"rows alone count as {number:g}, in one batch they count as {count:g}")
    worst = abs(sum(loss for loss, _ in alone) - whole) / max(abs(whole), 1e-30)
    hold(worst, CLOSE, "the losses of rows alone do not add up to that of the batch, but are apart by a share")
    return f"{count:g} counted, {whole / max(count, 1):.3g} nats each"


@check("ignored tokens", KIND, "leave targets that are IGNORE (of lmkit.data.packing) out of the loss and of its count")
def ignored(subject: Tasking) -> str | None:
    """Rows without targets add neither loss nor tokens, nor does half of each row; a batch of them gives 0, not nan."""
    task, held = subject.built(), subject.rows()
    half, number = _loss(task, held.batch(range(ROWS // 2)))
    found, valid = _loss(task, held.batch([*range(ROWS // 2), *[PAST] * (ROWS // 2)]))
    if valid != number:
        raise Failed(f"{number:g} valid tokens are counted as {valid:g} beside rows without targets")
    hold(abs(found - half) / max(abs(half), 1e-30), CLOSE, "rows without targets change the loss, by a share")
    nothing = _loss(task, held.batch([PAST] * ROWS))
    if nothing != (0.0, 0.0):
        raise Failed(f"a batch without targets has the loss {nothing[0]:g} and {nothing[1]:g} tokens, not 0 and 0")
    if subject.gives is not Batch:
        return f"{number:g} counted"
    batch = held.batch(range(ROWS))
    _, count = _loss(task, batch)
    targets = batch.targets.clone()
    targets[:, CONTEXT // 2 :] = IGNORE
    _, rest = _loss(task, batch._replace(targets=targets))
    if not rest < count:
        raise Failed(f"{count:g} valid tokens stay {rest:g} without the targets of half of each row")
    return f"{count:g} tokens, {rest:g} of half rows"


@check("gradients of the loss", KIND, "compute the loss of the network's output, and guard logarithms and divisions")
def gradients(subject: Tasking) -> str | None:
    """In training the loss has a finite gradient for each parameter."""
    task = subject.built().train()
    loss, _, beside = task.training_loss(subject.rows().batch(range(ROWS)))
    (loss + beside).backward()
    learned = {name: parameter for name, parameter in task.named_parameters() if parameter.requires_grad}
    for name, parameter in learned.items():
        if parameter.grad is not None and not finite(parameter.grad):
            raise Failed(f"the gradient of {name} is not finite")
    if lost := [name for name, parameter in learned.items() if parameter.grad is None or not parameter.grad.any()]:
        raise Failed(f"no gradient reaches {', '.join(lost)}")
    return counted(len(learned), "parameter")


@check("validation repeats", KIND, "draw nothing out of training: damage a text by a hash of it, as lmkit.tasks does")
def validation(subject: Tasking) -> str | None:
    """Out of training the same weights give the same loss, to the bit, whatever the seed; and stay as they are."""
    task, batch = subject.built(), subject.rows().batch(range(ROWS))
    before = [tensor.clone() for tensor in task.state_dict().values()]
    one, other = (seeded(_loss, task, batch, seed=number) for number in (1, 2))
    hold(max(abs(a - b) for a, b in zip(one, other, strict=True)), 0.0, "two validations differ")
    changed = max(map(difference, before, task.state_dict().values()), default=0.0)
    hold(changed, 0.0, "a validation changes the state of the task", "change nothing out of training")
    return None


@check("training repeats", KIND, "draw by torch's own generator, and keep no state between runs")
def training(subject: Tasking) -> str | None:
    """Two short fits of one seed, with validation, have the same losses to the bit."""
    runs: list[tuple[list[float], Tensor]] = []
    with aside() as folder, own_cache(folder):
        for _ in range(2):
            seed()
            task, seen = subject.make(), watch()
            own = trainer(folder, 3, [seen], fast_dev_run=3)  # in which schedules are constant
            own.fit(task, toy_data(subject.gives))
            runs.append((seen.losses, own.callback_metrics["val/loss"]))
    (losses, measured), (again, remeasured) = runs
    if not all(map(finite, map(torch.tensor, losses))):
        raise Failed("the loss is not finite")
    hold(difference(torch.tensor(losses), torch.tensor(again)), 0.0, "two runs of one seed differ in their losses")
    hold(difference(measured, remeasured), 0.0, "two runs of one seed differ in their validation loss")
    return f"{counted(len(losses), 'step')}, val/loss {short(measured.item())}"


def _loss(task: Any, batch: Any) -> tuple[float, float]:
    """The loss and the number of valid tokens, out of training."""
    with torch.no_grad():
        found = task.loss(batch)
    if not isinstance(found, tuple) or len(found) != 2:
        raise Failed(f"loss() gives a {type(found).__name__}", do="give two scalars: the summed loss, and its tokens")
    loss, count = found
    if loss.dim() or torch.as_tensor(count).dim():
        raise Failed(f"loss() gives tensors of shape {tuple(loss.shape)} and {tuple(count.shape)}, not scalars")
    if not finite(loss):
        raise Failed(
            "the loss is not finite", do="a batch, or a row, may have no valid token: sum, and divide by nothing"
        )
    return float(loss), float(count)
