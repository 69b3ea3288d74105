"""Where digits matter: sums over whole rows and choices between experts are not rounded to bfloat16."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """A context in which autocast leaves products of tensors such as this one alone; on meta there is no autocast."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)
