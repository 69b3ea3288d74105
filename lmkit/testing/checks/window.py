"""A window is the number of tokens that a token sees, its own included: no more, and no fewer."""

import torch

from lmkit.layers import Attention
from lmkit.testing.layer import Layer
from lmkit.testing.reading import modes, weights
from lmkit.testing.results import Failed, NotApplicable, counted
from lmkit.testing.suite import check

ROWS = ((16, 5), (300, 70))
"""Tokens of a row and a window in it; the latter pair for kernels that compute the band alone."""


@check("window", (Attention,), "give `window` to `attend`: a token sees so many, its own included")
def exact(subject: Layer) -> str | None:
    """With a window w, output t has no gradient by input t - w, and one by input t - w + 1."""
    if not subject.has("window"):
        raise NotApplicable("it has no option `window`")
    for time, window in ROWS:
        _look(subject, time, window)
    return ", ".join(f"{window} of {time} tokens" for time, window in ROWS)


def _look(subject: Layer, time: int, window: int) -> None:
    layer, x = subject.layer(window=window), subject.stream(1, time).requires_grad_()
    for mode in modes(layer, lambda: subject.call(layer, x)[0]):
        for last in (window, time - 1):
            weighed = (mode.whole[:, last] * weights(mode.whole[:, last])).sum()
            (gradient,) = torch.autograd.grad(weighed, x, retain_graph=True)
            seen = gradient[0].any(dim=-1).nonzero().flatten().tolist()
            if not seen or seen[0] != last - window + 1:
                number = last - seen[0] + 1 if seen else 0
                raise Failed(f"with window={window}, token {last} of {time} sees {counted(number, 'token')}{mode.when}")
