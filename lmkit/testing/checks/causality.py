"""Nothing leaks from the future: seen by changing later tokens, and by the gradients of earlier outputs."""

import torch
from torch import Tensor

from lmkit.network import Decoder
from lmkit.testing.layer import LAYERS, MIXING, Layer
from lmkit.testing.reading import read
from lmkit.testing.results import Failed, difference, hold, short
from lmkit.testing.suite import check

EXACT = 1e-12
LONG = 150
"""Tokens of a row that is longer than the tiles and chunks of fast kernels, 64 as a rule."""

DO = "mask what comes after a token (`attend` does), in every chunk, and take no mean over time"


@check("no future: tokens", LAYERS, DO)
def tokens(subject: Layer) -> str | None:
    """Later tokens change; earlier outputs must not, later ones must."""
    network, ids = subject.network(), subject.tokens()
    whole, worst = read(network, ids), 0.0
    for first in (1, 9, subject.size.context - 1):
        changed = ids.clone()
        changed[:, first:] = (changed[:, first:] + 1) % network.vocab_size
        other = read(network, changed)
        worst = max(worst, difference(other[:, :first], whole[:, :first]))
        hold(worst, EXACT, f"tokens from {first} on change outputs before them")
        if difference(other[:, first:], whole[:, first:]) == 0:
            raise Failed("changed tokens change nothing", do="let each token's output depend on it")
    if subject.kind in MIXING:
        worst = max(worst, _long(subject))
    return short(worst)


@check("no future: gradients", LAYERS, DO)
def gradients(subject: Layer) -> str | None:
    """The gradient of each output by every later input is exactly zero, in a network and for the layer alone."""
    network, ids, x = subject.network(), subject.tokens(1), subject.stream(1).requires_grad_()
    leak = _leak(_read_stream(network, x, ids), x)
    if subject.kind in MIXING:
        layer = subject.layer()
        leak = max(leak, _leak(subject.call(layer, x)[0], x))
    hold(leak, 0.0, "an output has a gradient by a later input")
    return short(leak)


def _long(subject: Layer) -> float:
    layer, x = subject.layer(), subject.stream(1, LONG)
    whole, worst = subject.call(layer, x)[0], 0.0
    for first in (64, 71, 129):
        changed = torch.cat([x[:, :first], -x[:, first:]], dim=1)
        worst = max(worst, difference(subject.call(layer, changed)[0][:, :first], whole[:, :first]))
        hold(worst, EXACT, f"of {LONG} tokens, those from {first} on change outputs before them")
    return worst


def _read_stream(network: Decoder, x: Tensor, ids: Tensor) -> Tensor:
    """Reads a stream (B, T, D) in place of the embeddings of the tokens."""
    handle = network.embedding.register_forward_hook(lambda *_: x)
    try:
        return read(network, ids)
    finally:
        handle.remove()


def _leak(y: Tensor, x: Tensor) -> float:
    """The largest gradient of an output by a later input."""
    weights, leak = torch.randn_like(y), 0.0
    for time in range(y.size(1) - 1):
        (gradient,) = torch.autograd.grad((y * weights)[:, time].sum(), x, retain_graph=True)
        leak = max(leak, difference(gradient[:, time + 1 :], torch.zeros_like(gradient[:, time + 1 :])))
    return leak
