"""Nothing leaks from the future: seen by changing later tokens, and by the gradients of earlier outputs.

In training and out of it, in a small network, and of the layer alone in a row that is longer than the tiles and chunks
of fast kernels, 64 or 128 as a rule.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from lmkit.network import Decoder
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import modes, read
from lmkit.testing.results import Failed, difference, hold, share, short
from lmkit.testing.suite import check

EXACT = 1e-12
LONG, CONTEXT = 300, 512
"""Tokens of a long row, and of the longest that its layer is made for."""
CUTS = (127, 129, 257)
"""Where it is cut into what came before and what comes later."""
SHORT = (1, 2, 7, 8, 14, 15)
"""The same of a short row."""

DO = "mask what comes after a token (`attend` does), in every chunk, and take no mean over time"


@check("no future: tokens", LAYERS, DO)
def tokens(subject: Layer) -> str | None:
    """Later tokens change; earlier outputs must not, later ones must."""
    network, ids = subject.network(), subject.tokens()
    worst = 0.0
    for mode in modes(network, read, network, ids):
        for first in (1, 9, subject.size.context - 1):
            changed = ids.clone()
            changed[:, first:] = (changed[:, first:] + 1) % network.vocab_size
            if (other := mode.other(read, network, changed)) is None:
                continue
            worst = max(worst, share(other[:, :first], mode.whole[:, :first]))
            hold(worst, EXACT, f"tokens from {first} on change outputs before them{mode.when}")
            if difference(other[:, first:], mode.whole[:, first:]) == 0:
                raise Failed(f"changed tokens change nothing{mode.when}", do="let each token's output depend on it")
    return short(max(worst, _long(subject)))


@check("no future: gradients", LAYERS, DO)
def gradients(subject: Layer) -> str | None:
    """The gradient of what comes before a cut by what is behind it is exactly zero, in a network and a layer alone."""
    network, ids, x = subject.network(), subject.tokens(1), subject.stream(1).requires_grad_()
    layer, said = subject.layer(), "an output has a gradient by a later input"
    for mode in modes(network, _read_stream, network, x, ids):
        hold(_leak(mode.whole, x, SHORT), 0.0, said + mode.when)
    for mode in modes(layer, lambda: subject.call(layer, x)[0]):
        hold(_leak(mode.whole, x, SHORT), 0.0, said + mode.when)
    size, long = subject.sized(CONTEXT), subject.stream(1, LONG).requires_grad_()
    layer = subject.layer(context=CONTEXT)
    for mode in modes(layer, lambda: subject.call(layer, long, size=size)[0]):
        hold(_leak(mode.whole, long, CUTS[1:2]), 0.0, f"{said}{mode.when}, in a row of {LONG} tokens")
    return short(0.0)


def _long(subject: Layer) -> float:
    layer, x, size = subject.layer(context=CONTEXT), subject.stream(1, LONG), subject.sized(CONTEXT)

    def call(x: Tensor) -> Tensor:
        return subject.call(layer, x, size=size)[0]

    worst = 0.0
    for mode in modes(layer, call, x):
        for first in CUTS:
            other = mode.other(call, torch.cat([x[:, :first], -x[:, first:]], dim=1))
            if other is not None:
                worst = max(worst, share(other[:, :first], mode.whole[:, :first]))
                hold(worst, EXACT, f"of {LONG} tokens, those from {first} on change outputs before them{mode.when}")
    return worst


def _read_stream(network: Decoder, x: Tensor, ids: Tensor) -> Tensor:
    """Reads a stream (B, T, D) in place of the embeddings of the tokens."""
    handle = network.embedding.register_forward_hook(lambda *_: x)
    try:
        return read(network, ids)
    finally:
        handle.remove()


def _leak(y: Tensor, x: Tensor, cuts: Iterable[int]) -> float:
    """The largest gradient of the outputs before one of these cuts by an input behind it."""
    weights, leak = torch.randn_like(y), 0.0
    for cut in cuts:
        (gradient,) = torch.autograd.grad((y * weights)[:, :cut].sum(), x, retain_graph=True)
        leak = max(leak, difference(gradient[:, cut:], torch.zeros_like(gradient[:, cut:])))
    return leak
