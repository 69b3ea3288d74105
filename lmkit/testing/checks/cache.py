"""The cache: what is read in pieces, or token by token, equals what is read at once."""

import torch
from torch import Tensor

from lmkit.layers import Attention
from lmkit.network import Decoder
from lmkit.network.cache import LayerCache
from lmkit.testing.checks.dtypes import CLOSE
from lmkit.testing.layer import LAYERS, MIXING, Layer
from lmkit.testing.reading import cached, read
from lmkit.testing.results import Failed, NotApplicable, hold, share, short
from lmkit.testing.suite import check

EXACT = 1e-10
ROWS = 3
PIECES = (6, 1, 1, 4, 4)
LONG = (130, 1, 9, 128, 32)
"""Pieces of a longer row, about the chunks of fast kernels, 64 or 128 as a rule."""
WINDOW = 5


@check(
    "cache",
    LAYERS,
    "keep all that later tokens need by at.cache.append, rotated already, or in at.cache.state: nowhere else",
)
def parity(subject: Layer) -> str | None:
    """Pieces and single tokens, in a network with each position that the layer runs with, in bfloat16 too, and longer
    rows alone.
    """
    worst = _parity(subject)
    if subject.kind in MIXING:
        worst = max(worst, _long(subject))
        _rounded(subject)
    return short(worst)


@check("cache with a window", (Attention,), "give the window to at.cache.append, which keeps no more than that")
def windowed(subject: Layer) -> str | None:
    """The same with a window, and a past that does not outgrow it."""
    if not subject.has("window"):
        raise NotApplicable("it has no option `window`")
    worst = _parity(subject, window=WINDOW)
    network, tokens = subject.network(window=WINDOW), subject.tokens(1)
    cache, roomy, prompted = network.cache(), network.cache(4 * subject.size.context), network.cache()
    cached(network, tokens[:, :WINDOW], (1,) * WINDOW, cache)
    bound = cache.bytes
    cached(network, tokens[:, WINDOW:], (1,) * (tokens.size(1) - WINDOW), cache)
    cached(network, tokens, PIECES, roomy)
    read(network, tokens, cache=prompted)
    if (most := max(cache.bytes, roomy.bytes, prompted.bytes)) > bound:
        raise Failed(f"the cache outgrows a window of {WINDOW} tokens, to {most} bytes", f"{most} bytes")
    return f"{short(worst)}, {cache.bytes} bytes"


def _parity(subject: Layer, **options: int) -> float:
    tokens, worst = subject.tokens(ROWS), 0.0
    for position in subject.positions:
        network = subject.network(position, **options)
        whole = read(network, tokens)
        if position is subject.positions[0] and not options:
            worst = share(cached(network, tokens, (1,) * tokens.size(1)), whole)
            hold(worst, EXACT, "single tokens through the cache differ from the row at once")
        worst = max(worst, _in_turns(network, tokens, whole))
        said = (
            f"pieces of {PIECES} tokens of two texts in turns, each through a cache of its own, differ from the texts"
        )
        hold(worst, EXACT, f"{said} at once")
    return worst


def _in_turns(network: Decoder, tokens: Tensor, whole: Tensor) -> float:
    """The largest difference of a text that is read in pieces, between those of another."""
    other = (tokens + 1) % network.vocab_size
    caches, pieces = (network.cache(), network.cache()), []
    for piece, between in zip(tokens.split(PIECES, dim=1), other.split(PIECES, dim=1), strict=True):
        pieces.append(read(network, piece, cache=caches[0]))
        last = read(network, between, cache=caches[1])
    ended = share(last, read(network, other)[:, -PIECES[-1] :])
    return max(ended, share(torch.cat(pieces, dim=1), whole))


def _rounded(subject: Layer) -> None:
    """In bfloat16."""
    network, tokens = subject.network().bfloat16(), subject.tokens(ROWS)
    whole = read(network, tokens).float()
    change = (cached(network, tokens, PIECES).float() - whole).abs().mean() / whole.abs().mean().clamp(min=1e-30)
    if not change <= CLOSE:
        raise Failed(f"in bfloat16, pieces through the cache are {change:.0%} away from the row at once")


def _long(subject: Layer) -> float:
    layer, x = subject.layer(), subject.stream(1, sum(LONG))
    cache, first, pieces = LayerCache(sum(LONG)), 0, []
    for piece in x.split(LONG, dim=1):
        pieces.append(subject.call(layer, piece, first=first, cache=cache)[0])
        first += piece.size(1)
    worst = share(torch.cat(pieces, dim=1), subject.call(layer, x)[0])
    hold(worst, EXACT, f"of {sum(LONG)} tokens, pieces of {LONG} through the cache differ from the row at once")
    return worst
