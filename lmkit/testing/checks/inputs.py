"""What a layer is given stays as it is: others read it too, as the residual stream does."""

from typing import Any

import torch

from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import modes, seeded
from lmkit.testing.results import Failed, difference, hold, short
from lmkit.testing.suite import check

EXACT = 1e-10


@check(
    "input stays", LAYERS, "make a new tensor, as in x / y in place of x.div_(y), whether gradients are wanted or not"
)
def untouched(subject: Layer) -> str | None:
    """With gradients and without, a forward leaves its input alone, and both give the same."""
    layer, x = subject.layer(), subject.stream()
    kept, worst = x.clone(), 0.0
    for mode in modes(layer, lambda: subject.call(layer, x)[0]):
        found: list[Any] = []
        for wanted in (True, False):
            with torch.set_grad_enabled(wanted):
                found.append(seeded(subject.call, layer, x))
            if not torch.equal(x, kept):
                raise Failed("a forward" + " without gradients" * (not wanted) + f"{mode.when} changes its input")
        worst = max(worst, *(difference(*pair) for pair in zip(*found, strict=True)))
        hold(worst, EXACT, f"without gradients it gives other results{mode.when}")
    return short(worst)
