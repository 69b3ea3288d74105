"""Gradients: they are the derivative, and every parameter gets one."""

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck
from torch.func import functional_call

from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import side_losses
from lmkit.testing.results import Failed, NotApplicable, counted, finite
from lmkit.testing.suite import check
from lmkit.testing.whole import MODULES, Module

SHORT = 5
TRIES = 4


@check("gradients", LAYERS, "compute in x.dtype, which is float64 here, and mend the backward pass of custom functions")
def derivative(subject: Layer) -> str | None:
    """`torch.autograd.gradcheck` in its fast mode, for the input and each parameter by itself."""
    layer, x = subject.layer(), subject.stream(2, SHORT)

    class Call(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            # a weighed sum, because the fast mode weighs by positive numbers only, under which norms change little
            return tuple((y * _weights(y)).sum() for y in subject.call(self.layer, x) if y.requires_grad)

    call = Call()
    tensors = {"the input": x} | {name: p for name, p in call.named_parameters() if p.requires_grad}
    for name, tensor in tensors.items():
        value = tensor.detach().clone().requires_grad_()

        def run(value: Tensor, name: str = name) -> tuple[Tensor, ...]:
            return call(value) if name == "the input" else functional_call(call, {name: value}, (x,))

        try:
            if run(value):  # else nothing depends on anything
                gradcheck(run, (value,), fast_mode=True)
        except GradcheckError as error:
            said = name.removeprefix("layer.")
            raise Failed(f"the gradient of {said} is not the derivative") from error
    return counted(len(tensors), "tensor")


def _weights(y: Tensor) -> Tensor:
    """Random numbers, always the same ones."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(y.dtype)


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
