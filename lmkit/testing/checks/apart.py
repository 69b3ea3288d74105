"""Rows are apart from each other, and so are the documents that are packed into one row."""

from typing import Any

import torch
from torch import Tensor

from lmkit.layers import Attention
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import memory, read, seeded
from lmkit.testing.results import difference, hold, short
from lmkit.testing.suite import check

EXACT = 1e-10
LENGTHS = (5, 1, 7, 3)
LONG = (40, 100, 10)


@check("rows apart", LAYERS, "take no mean, maximum or order over the batch: each row is a text of its own")
def rows(subject: Layer) -> str | None:
    """A row is read alone, and other rows change, in training and out of it; its outputs stay."""
    network, tokens = subject.network(), subject.tokens(3)
    layer, x = subject.layer(), subject.stream(3)
    worst = difference(read(network, tokens)[:1], read(network, tokens[:1]))
    hold(worst, EXACT, "a row read alone differs from the same row among others")
    others = torch.cat([tokens[:1], (tokens[1:] + 1) % network.vocab_size])
    other_x = torch.cat([x[:1], -3 * x[1:]])
    for training in (False, True):
        layer.train(training)
        network.train(training)
        within = difference(*(seeded(read, network, ids)[:1] for ids in (tokens, others)))
        alone = difference(*(seeded(subject.call, layer, stream)[0][:1] for stream in (x, other_x)))
        worst = max(worst, within, alone)
        hold(worst, EXACT, "other rows change a row" + " in training" * training)
    return short(worst)


@check("documents apart", LAYERS, "give `at` to `attend`, or start anew where at.documents changes")
def documents(subject: Layer) -> str | None:
    """A packed row equals each of its documents alone, for each position that the layer runs with."""
    tokens = subject.tokens()
    cuts = (LENGTHS, LENGTHS[::-1])
    ids, worst = torch.cat([_ids(lengths) for lengths in cuts]), 0.0
    for position in subject.positions:
        network = subject.network(position)
        x = network.embedding.weight[tokens]
        packed = read(network, tokens, ids, memory=memory(x, ids))
        for row, lengths in enumerate(cuts):
            alone = [
                read(network, tokens[row : row + 1, place], memory=memory(x[:1], part=place))
                for place in _places(lengths)
            ]
            worst = max(worst, difference(packed[row : row + 1], torch.cat(alone, dim=1)))
            hold(worst, EXACT, "documents of one row differ from the same documents alone")
    if subject.kind is Attention:
        worst = max(worst, _long(subject))
    return short(worst)


def _long(subject: Layer) -> float:
    """Longer documents, in the attention alone and without positions, which begin anew in each."""
    layer, x, ids = subject.layer(), subject.stream(1, sum(LONG)), _ids(LONG)
    told: dict[str, Any] = {"rotation": None, "bias": None}
    packed = subject.call(layer, x, documents=ids, memory=memory(x, ids), **told)[0]
    alone = [subject.call(layer, x[:, place], memory=memory(x, part=place), **told)[0] for place in _places(LONG)]
    worst = difference(packed, torch.cat(alone, dim=1))
    hold(worst, EXACT, f"documents of {', '.join(map(str, LONG))} tokens differ from the same documents alone")
    return worst


def _ids(lengths: tuple[int, ...]) -> Tensor:
    """The document of each token (1, T)."""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]


def _places(lengths: tuple[int, ...]) -> list[slice]:
    """Where each document stands."""
    ends = torch.tensor(lengths).cumsum(0).tolist()
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
