"""The same seed gives the same numbers, to the bit; out of training no seed is needed."""

from typing import Any

from torch import Tensor

from lmkit.testing.reading import seeded, side_losses
from lmkit.testing.results import Failed, counted, difference, hold
from lmkit.testing.suite import check
from lmkit.testing.whole import MODULES, Module


@check("repeats", MODULES, "draw by torch's own generator, in training only, and keep no state between forwards")
def repeats(subject: Module) -> str | None:
    """Two layers of one seed, forward and backward in training; one layer twice, in training and out of it."""
    first, second = seeded(_train, subject), seeded(_train, subject)
    if [*first] != [*second]:
        raise Failed("two runs give gradients to other tensors")
    for name, value in first.items():
        hold(difference(value, second[name]), 0.0, f"two runs of one seed differ in {name}")
    layer, x = subject.layer(), subject.stream()
    for one, other in zip(*(seeded(subject.call, layer.train(), x) for _ in range(2)), strict=True):
        hold(difference(one, other), 0.0, "in training, a second forward of the same seed differs from the first")
    layer.eval()
    runs = [seeded(subject.call, layer, x, seed=seed) for seed in (0, 1)]
    for one, other in zip(*runs, strict=True):
        hold(difference(one, other), 0.0, "out of training, two forwards differ")
    return counted(len(first), "tensor")


def _train(subject: Module) -> dict[str, Tensor]:
    """Outputs and gradients of a fresh layer in training."""
    layer: Any = subject.make().double().train()
    x = subject.stream()
    if x.is_floating_point():  # no token ids
        x.requires_grad_()
    outputs = subject.call(layer, x)
    loss = sum(y.square().sum() for y in outputs if y.requires_grad) + side_losses(layer)
    if isinstance(loss, Tensor):
        loss.backward()
    gradients = {"the gradient of the input": x.grad}
    gradients |= {f"the gradient of {name}": parameter.grad for name, parameter in layer.named_parameters()}
    values = {f"output {number}": y.detach() for number, y in enumerate(outputs)}
    return values | {name: gradient for name, gradient in gradients.items() if gradient is not None}
