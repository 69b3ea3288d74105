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
    """`torch.autograd.gradcheck` in its fast mode, for the input and each parameter by itself."""
    layer, x = subject.layer(), subject.stream(2, SHORT)
    call = Call(subject, layer)
    tensors = {INPUT: x} | {name: parameter for name, parameter in call.named_parameters() if parameter.requires_grad}
    for mode in modes(layer, lambda: subject.call(layer, x)[0]):
        for name, tensor in tensors.items():
            if not _agrees(call, x, name, tensor):
                said = name.removeprefix("layer.")
                raise Failed(f"the gradient of {said} is not the derivative{mode.when}")
    return counted(len(tensors), "tensor")


class Call(torch.nn.Module):
    """What a layer makes of a stream, as one number for each output that has a gradient."""

    def __init__(self, subject: Layer, layer: torch.nn.Module) -> None:
        super().__init__()
        self.subject, self.layer = subject, layer

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, T, D) to scalars."""
        # a weighed sum, because the fast mode weighs by positive numbers only, under which norms change little
        return tuple((y * weights(y)).sum() for y in self.subject.call(self.layer, x) if y.requires_grad)


def _agrees(call: Call, x: Tensor, name: str, tensor: Tensor) -> bool:
    """Whether the gradient of a parameter, or of the input, is the derivative."""
    value, training = tensor.detach().clone().requires_grad_(), call.layer.training

    def run(value: Tensor) -> tuple[Tensor, ...]:
        torch.manual_seed(0)
        return call(value) if name == INPUT else functional_call(call, {name: value}, (x,))

    try:  # if nothing depends on anything, it has no gradient
        return not run(value) or gradcheck(run, (value,), fast_mode=True, check_undefined_grad=not training)
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
