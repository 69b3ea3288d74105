"""Shapes and dtypes: a layer gives what it was given, in float32, in bfloat16 and under autocast."""

from typing import Any

import torch
from torch import Tensor

from lmkit.layers import Activation, Norm
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import read
from lmkit.testing.results import Failed, finite
from lmkit.testing.suite import check

CLOSE = 0.1
"""The most that bfloat16 may change of a result: the mean change over the mean size."""


@check("shape and dtype", LAYERS, "give (B, T, D) for (B, T, D), in the dtype that came", runs=True)
def shape_and_dtype(subject: Layer) -> str | None:
    """Rows of several shapes, in float32 and float64."""
    shapes = [(1, 1), (2, subject.size.context)]
    for dtype in (torch.float32, torch.float64):
        layer = subject.layer().to(dtype)
        for rows, time in shapes:
            x = subject.stream(rows, time).to(dtype)
            _same(subject.call(layer, x)[0], x)
        if subject.kind in (Norm, Activation):  # a norm is also used on heads
            x = subject.stream().to(dtype)
            _same(layer(x[:, None]), x[:, None])
            _same(layer(x[0, 0]), x[0, 0])
    return None


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
