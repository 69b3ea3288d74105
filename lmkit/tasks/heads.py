"""Heads: that of a task, which a run takes over from the one that it starts from, or leaves there, and says so; and
that of the network, which such a task does not read.
"""

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lmkit.hf.start_kind import Start, check_numbers
from lmkit.layers import Linear
from lmkit.losses.chunks import wide
from lmkit.network import Transformer


def take_head(task: Any) -> None:
    """Fills a task's head from where the task starts, if that has one of the same task and classes.

    Args:
        task: whose network and head are there.

    Raises:
        UserError: its numbers are none.
    """
    head = task.start(task.init_from).head if task.init_from is not None else None
    if head is None:
        return
    own, classes = type(task).__name__, getattr(task, "classes", [])
    if (head.task, head.classes) == (own, classes):
        task.head.load_state_dict(head.tensors)
        check_numbers(task.head, task.init_from)
    elif head.task != own:
        rank_zero_info(f"{task.init_from} has a head of {head.task}, which {own} has no use for: the head is new")
    else:
        told = " but ".join(", ".join(names) for names in (head.classes, classes))
        rank_zero_info(f"{task.init_from} tells other classes apart ({told} here): the head is new")


def scores_of(head: Linear, states: Tensor) -> Tensor:
    """What a head gives (N, scores), in float32 or wider whatever the precision of the run: half precision would make
    equal what differs by less than a hundredth, and scores are there to be compared.

    Args:
        head: that of a task.
        states: hidden ones (N, D).
    """
    with torch.autocast(states.device.type, enabled=False):
        return F.linear(wide(states), wide(head.weight), None if head.bias is None else wide(head.bias))


def freeze_own(network: Transformer) -> None:
    """Has a network's own head take no gradient, unless it is the embedding: the task reads another, and DDP would wait
    in vain for the gradient of what learns.
    """
    if network.head is not None:
        network.head.requires_grad_(False)


def tell_left(start: Start) -> None:
    """Says that a head stays behind where a run starts, because its own task has none."""
    if start.head is not None:
        rank_zero_info(f"{start.path} has a head of {start.head.task} beside its network, which is left there")
