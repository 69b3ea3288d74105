"""Rows are apart from each other, and so are the documents that are packed into one row."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.layers import Attention
from lmkit.network import Decoder
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import memory, modes, read
from lmkit.testing.results import hold, share, short
from lmkit.testing.suite import check

EXACT = 1e-10
ROWS = 3
LENGTHS = (5, 1, 7, 3)
LONG = (40, 129, 131)


@check("rows apart", LAYERS, "take no mean, maximum or order over the batch: each row is a text of its own")
def rows(subject: Layer) -> str | None:
    """Each row gives what it gives alone, in training and out of it, or, where numbers are drawn, beside other rows."""
    network, tokens = subject.network(), subject.tokens(ROWS)
    layer, x = subject.layer(), subject.stream(ROWS)
    within = _rows(network, partial(read, network), tokens, (tokens + 1) % network.vocab_size)
    return short(max(within, _rows(layer, lambda x: subject.call(layer, x)[0], x, -3 * x)))


@check("documents apart", LAYERS, "give `at` to `attend`, or start anew where at.documents changes")
def documents(subject: Layer) -> str | None:
    """A packed row equals each of its documents alone, for each position that the layer runs with; in training, it does
    not depend on the first of them.
    """
    tokens = subject.tokens()
    cuts = (LENGTHS, LENGTHS[::-1])
    ids, worst = torch.cat([_ids(lengths) for lengths in cuts]), 0.0
    for position in subject.positions:
        network = subject.network(position)

        def packed(tokens: Tensor, network: Decoder = network) -> Tensor:
            now = ids[: tokens.size(0)]
            return read(network, tokens, now, memory=memory(network.embedding.weight[tokens], now))

        found = _alone(network, tokens, packed(tokens), cuts)
        worst = max(worst, found, _trained(network, packed, tokens[:1], (tokens[:1] + 1) % network.vocab_size, ids[:1]))
    return short(max(worst, _long(subject)) if subject.kind is Attention else worst)


def _rows(module: nn.Module, call: Callable[[Tensor], Tensor], together: Tensor, others: Tensor) -> float:
    """The largest difference that the other rows of a batch make."""
    worst = 0.0
    for mode in modes(module, call, together):
        for row in range(ROWS):
            this = slice(row, row + 1)
            if mode.drew:
                alone = mode.other(call, torch.cat([others[:row], together[this], others[row + 1 :]]))
                alone = None if alone is None else alone[this]
                said = f"other rows change row {row + 1}{mode.when}"
            else:
                alone = call(together[this])
                said = f"row {row + 1} read alone differs from the same row among others{mode.when}"
            if alone is not None:
                worst = max(worst, share(alone, mode.whole[this]))
                hold(worst, EXACT, said)
    return worst


def _alone(network: Decoder, tokens: Tensor, packed: Tensor, cuts: tuple[tuple[int, ...], ...]) -> float:
    """The largest difference of documents of packed rows to the same documents alone."""
    worst = 0.0
    for row, lengths in enumerate(cuts):
        x = network.embedding.weight[tokens[:1]]
        alone = [
            read(network, tokens[row : row + 1, place], memory=memory(x, part=place)) for place in _places(lengths)
        ]
        worst = max(worst, share(packed[row : row + 1], torch.cat(alone, dim=1)))
        hold(worst, EXACT, "documents of one row differ from the same documents alone")
    return worst


def _trained(module: nn.Module, packed: Callable[[Tensor], Tensor], row: Tensor, others: Tensor, ids: Tensor) -> float:
    """The largest change of the documents of a row in training, when the first of them is another."""
    first = ids == 0
    changed = torch.where(first if row.dim() == 2 else first[..., None], others, row)
    for mode in modes(module, packed, row):
        if mode.when and (other := mode.other(packed, changed)) is not None:
            change = share(other[~first], mode.whole[~first])
            hold(change, EXACT, "the first document of a row changes the others in training")
            return change
    return 0.0


def _long(subject: Layer) -> float:
    """Longer documents, in the attention alone and without positions, which begin anew in each."""
    layer, x, ids = subject.layer(), subject.stream(1, sum(LONG)), _ids(LONG)
    told: dict[str, Any] = {"rotation": None, "bias": None}

    def packed(x: Tensor) -> Tensor:
        return subject.call(layer, x, documents=ids, memory=memory(x, ids), **told)[0]

    alone = [subject.call(layer, x[:, place], memory=memory(x, part=place), **told)[0] for place in _places(LONG)]
    worst = share(packed(x), torch.cat(alone, dim=1))
    hold(worst, EXACT, f"documents of {', '.join(map(str, LONG))} tokens differ from the same documents alone")
    return max(worst, _trained(layer, packed, x, -x, ids))


def _ids(lengths: tuple[int, ...]) -> Tensor:
    """The document of each token (1, T)."""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]


def _places(lengths: tuple[int, ...]) -> list[slice]:
    """Where each document stands."""
    ends = torch.tensor(lengths).cumsum(0).tolist()
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
