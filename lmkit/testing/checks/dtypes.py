"""Shapes and dtypes: a layer gives what it was given, in float32, in bfloat16 and under autocast."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from lmkit.layers import Activation, Norm
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import modes, read, seeded, still, weights
from lmkit.testing.results import Failed, clean, difference, finite, hold, short
from lmkit.testing.suite import check

CLOSE = 0.1
"""The most that bfloat16 may change of a result: the mean change over the mean size."""
NEAR = 1e-3
"""The same of float32."""


@check("shape and dtype", LAYERS, "give (B, T, D) for (B, T, D), in the dtype that came", runs=True)
def shape_and_dtype(subject: Layer) -> str | None:
    """Rows of several shapes, in float32 and float64."""
    shapes = [(1, 1), (2, subject.size.context)]
    for dtype in (torch.float32, torch.float64):
        layer = subject.layer().to(dtype)
        for rows, time in shapes:
            x = subject.stream(rows, time).to(dtype)
            _same(subject.call(layer, x)[0], x)
        if subject.kind in (Norm, Activation):
            _heads(layer, subject.stream().to(dtype))
    return None


@check("float32", LAYERS, "compute the same in each dtype, and take no small differences of large numbers", runs=True)
def float32(subject: Layer) -> str | None:
    """Outputs and gradients against float64, out of training, and in it where no numbers are drawn."""
    exact, x, worst = subject.layer(), subject.stream(), 0.0
    single = deepcopy(exact).float()
    for mode in modes(exact, lambda: subject.call(exact, x)[0]):
        if mode.drew:
            continue
        still(single.train(exact.training))
        numbers, near = _numbers(subject, exact, x), _numbers(subject, single, x.float())
        for what, one, other in zip(("outputs", "gradients"), numbers, near, strict=True):
            share = ((one - other).abs().sum() / one.abs().sum().clamp(min=1e-30)).item()
            if not share <= NEAR:
                raise Failed(f"{what} are {share:.1%} away from those in float64{mode.when}", f"{share:.1%}")
            worst = max(worst, share)
    return short(worst)


@check(
    "bfloat16",
    LAYERS,
    "cast constants and parameters to x.dtype: a float32 tensor among them changes the stream's",
    runs=True,
)
def bfloat16(subject: Layer) -> str | None:
    """The layer alone against float32 with the same, rounded numbers; and the network as a whole."""
    layer, x = subject.layer().bfloat16(), subject.stream().bfloat16().requires_grad_()
    y = subject.call(layer, x)[0]
    _same(y, x)
    y.float().square().sum().backward()
    hidden = read(subject.network().bfloat16(), subject.tokens())
    if hidden.dtype != torch.bfloat16:
        raise Failed(f"a network in bfloat16 gives {_name(hidden)}")
    return _close(y, subject.call(layer.float(), x.float())[0])


@check(
    "autocast bfloat16", LAYERS, "let tensors of two dtypes meet only where PyTorch promotes, or cast with .to(x.dtype)"
)
def autocast(subject: Layer) -> str | None:
    """The layer and a network, forward and backward, against float32 without autocast."""
    layer, x = subject.layer().float(), subject.stream().float().requires_grad_()
    network = subject.network().float()
    with torch.autocast("cpu", torch.bfloat16):
        y, hidden = subject.call(layer, x)[0], read(network, subject.tokens())
    (y.float().square().sum() + hidden.float().square().sum()).backward()
    if y.shape != x.shape or y.dtype not in (torch.float32, torch.bfloat16):
        raise Failed(f"float32 of shape {tuple(x.shape)} gives {_name(y)} of shape {tuple(y.shape)}")
    if x.grad is None or not finite(x.grad):
        raise Failed("the gradient of the input is not finite")
    return _close(y, subject.call(layer, x)[0])


def _heads(layer: Any, x: Tensor) -> None:
    """What norms and activations also meet: other numbers of dimensions, and heads, whose memory lies otherwise."""
    for part in (x[:, None], x[0, 0]):
        _same(layer(part), part)
    heads = torch.stack([x, 2 * x], dim=2).transpose(1, 2)  # (B, H, T, D) in the memory of (B, T, H, D)
    try:
        found = seeded(layer, heads)
    except RuntimeError as error:
        raise Failed(
            f"heads in transposed memory: {clean(error)}", do="use .reshape() or .flatten(), not .view()"
        ) from error
    _same(found, heads)
    change = difference(found, seeded(layer, heads.contiguous()))
    hold(change, NEAR * heads.abs().max().item(), "heads in transposed memory differ from the same in a row")


def _numbers(subject: Layer, layer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """All numbers of a layer's outputs, and all of its gradients."""
    x = x.requires_grad_()
    outputs = seeded(subject.call, layer, x)
    learned = [x, *(parameter for parameter in layer.parameters() if parameter.requires_grad)]
    loss = sum((y * weights(y)).sum() for y in outputs if y.requires_grad)
    found = (
        torch.autograd.grad(loss, learned, materialize_grads=True, allow_unused=True)
        if isinstance(loss, Tensor)
        else [x]
    )
    return _flat(outputs), _flat(found)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def _same(y: Any, x: Tensor) -> None:
    if not isinstance(y, Tensor):
        raise Failed(f"it gives a {type(y).__name__}, not a tensor")
    if y.shape != x.shape or y.dtype != x.dtype:
        raise Failed(f"{_name(x)} of shape {tuple(x.shape)} gives {_name(y)} of shape {tuple(y.shape)}")
    if not finite(y):
        raise Failed(f"numbers that are not finite, in {_name(x)}")


def _close(y: Tensor, exact: Tensor) -> str:
    change = ((y.float() - exact).abs().mean() / exact.abs().mean().clamp(min=1e-30)).item()
    if not change <= CLOSE:
        raise Failed(f"{change:.0%} away from float32", f"{change:.1%}", "compute sums and exponentials in float32")
    return f"{change:.1%}"


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
