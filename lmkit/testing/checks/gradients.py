"""Gradients: they are the derivative, and every parameter gets one."""

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.func import functional_call

from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import modes, side_losses, weights
from lmkit.testing.results import Failed, NotApplicable, counted, finite
from lmkit.testing.suite import check
from lmkit.testing.whole import MODULES, Module

SHORT = 5
INPUT = "the input"
TRIES = 4


@check("gradients", LAYERS, "compute in x.dtype, which is float64 here, and mend the backward pass of custom functions")
def derivative(subject: Layer) -> str | None:
    """`torch.autograd.gradcheck` along a random direction of the input, and of each parameter."""
    layer, x = subject.layer(), subject.stream(2, SHORT)
    call = Call(subject, layer)
    tensors = {INPUT: x} | {name: parameter for name, parameter in call.named_parameters() if parameter.requires_grad}
    lines = {name: (tensor.detach(), torch.randn_like(tensor)) for name, tensor in tensors.items()}
    for mode in modes(layer, lambda: subject.call(layer, x)[0]):
        if not _agrees(call, x, lines):
            wrong = [name.removeprefix("layer.") for name, line in lines.items() if not _agrees(call, x, {name: line})]
            raise Failed(f"the gradient of {', '.join(wrong) or 'a tensor'} is not the derivative{mode.when}")
    return counted(len(tensors), "tensor")


class Call(torch.nn.Module):
    """What a layer makes of a stream, as one number for each output that has a gradient."""

    def __init__(self, subject: Layer, layer: torch.nn.Module) -> None:
        super().__init__()
        self.subject, self.layer = subject, layer

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, T, D) to scalars."""
        # a weighed sum, because under a plain one norms change little
        return tuple((y * weights(y)).sum() for y in self.subject.call(self.layer, x) if y.requires_grad)


def _agrees(call: Call, x: Tensor, lines: dict[str, tuple[Tensor, Tensor]]) -> bool:
    """Whether the slopes along lines, each a tensor and a direction, are those that autograd finds."""

    def run(steps: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        moved = {name: start + step * way for (name, (start, way)), step in zip(lines.items(), steps, strict=True)}
        return functional_call(call, moved, (moved.pop(INPUT, x),))

    steps = x.new_zeros(len(lines), requires_grad=True)
    try:
        return not run(steps) or gradcheck(run, (steps,))  # nothing, if nothing depends on anything
    except GradcheckError:
        return False


@check("every parameter learns", MODULES, "use it in forward, or make it a buffer, or leave it out")
def every_parameter(subject: Module) -> str | None:
    """In training each parameter has a gradient that is finite and not zero throughout."""
    layer = subject.layer().train()
    waiting = {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
    if not waiting:
        raise NotApplicable("it has no parameters")
    count = len(waiting)
    for seed in range(TRIES):  # an expert that no token was sent to may get one of the next
        x = subject.stream(seed=seed)
        layer.zero_grad()
        outputs = subject.call(layer, x)
        loss = sum((y * torch.randn_like(y)).sum() for y in outputs if y.requires_grad) + side_losses(layer)
        if isinstance(loss, Tensor):
            loss.backward()
        for name, parameter in [*waiting.items()]:
            if parameter.grad is not None and not finite(parameter.grad):
                raise Failed(f"the gradient of {name} is not finite", do="guard roots, logarithms and divisions")
            if parameter.grad is not None and parameter.grad.any():
                del waiting[name]
    if waiting:
        raise Failed(f"no gradient reaches {', '.join(waiting)}")
    return counted(count, "parameter")
