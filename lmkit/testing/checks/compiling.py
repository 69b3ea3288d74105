"""`torch.compile` in one piece: no graph break, forward and backward as without it.

The backend is `aot_eager_decomp_partition`: it captures forward and backward, where graph breaks are found, takes them
apart and divides them as the real one does, then runs them as they are. So no C++ compiler is needed, and a check takes
about a second.
"""

from typing import Any

import torch
from torch import Tensor

from lmkit.testing.layer import LAYERS, Layer, run
from lmkit.testing.reading import seeded, side_losses
from lmkit.testing.results import Failed, clean, difference, hold, short
from lmkit.testing.suite import check

EXACT = 1e-10
BACKEND = "aot_eager_decomp_partition"


@check(
    "compiles whole", LAYERS, "ask no tensor for its value in forward (`if` on a tensor, .tolist(), numpy)", runs=True
)
def compiles(subject: Layer) -> str | None:
    """In training, with `fullgraph=True`; where that draws numbers, since the backend draws others, out of it."""
    eager, compiled = _both(subject, run), _compiled(subject)
    other = _both(subject, run, seed=1)
    if eager.keys() != other.keys() or any(difference(value, other[name]) for name, value in eager.items()):
        eager, compiled = _both(subject, run, training=False), _compiled(subject, training=False)
    worst = max((difference(value, compiled[name]) for name, value in eager.items()), default=0.0)
    hold(worst, EXACT, "compiled, it gives other results or gradients", "say it to PyTorch, or write it in other words")
    return short(worst)


def _compiled(subject: Layer, training: bool = True) -> dict[str, Tensor]:
    torch.compiler.reset()
    try:
        return _both(subject, torch.compile(run, fullgraph=True, backend=BACKEND, dynamic=False), training)
    except torch._dynamo.exc.Unsupported as error:
        raise Failed(clean(error)) from error
    finally:
        torch.compiler.reset()


def _both(subject: Layer, function: Any, training: bool = True, seed: int = 0) -> dict[str, Tensor]:
    """Outputs and gradients of a layer that is run by a function."""
    layer, x = seeded(subject.layer).train(training), subject.stream().requires_grad_()
    outputs = seeded(function, layer, *subject.arguments(x), seed=seed)
    loss = sum(y.square().sum() for y in outputs if y.requires_grad) + side_losses(layer)
    if isinstance(loss, Tensor):
        loss.backward()
    found = {f"output {number}": y.detach() for number, y in enumerate(outputs)}
    gradients = {name: parameter.grad for name, parameter in [("the input", x), *layer.named_parameters()]}
    return found | {name: gradient for name, gradient in gradients.items() if gradient is not None}
