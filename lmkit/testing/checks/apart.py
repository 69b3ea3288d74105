"""Rows are apart from each other, and so are the documents that are packed into one row."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.layers import Attention
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.reading import draws, memory, modes, read, seeded
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
    """A packed row equals each of its documents alone, for each position that the layer runs with; in training, a
    document is the same beside others.
    """
    tokens = subject.tokens()
    cuts = (LENGTHS, LENGTHS[::-1])
    ids, worst = torch.cat([_ids(lengths) for lengths in cuts]), 0.0
    for position in subject.positions:
        network = subject.network(position)
        beside = memory(network.embedding.weight[tokens], ids)
        packed = partial(read, network, documents=ids, memory=beside)
        others = torch.where(ids == 0, (tokens + 1) % network.vocab_size, tokens)
        for training, whole in modes(network, partial(packed, tokens)):
            found = _beside(seeded(packed, others), whole, ids) if training else _alone(network, tokens, whole, cuts)
            worst = max(worst, found)
    return short(max(worst, _long(subject)) if subject.kind is Attention else worst)


def _rows(module: nn.Module, call: Callable[[Tensor], Tensor], together: Tensor, others: Tensor) -> float:
    """The largest difference that the other rows of a batch make."""
    worst = 0.0
    for when, whole in modes(module, once := partial(call, together)):
        drawn = draws(module, once)
        for row in range(ROWS):
            this = slice(row, row + 1)
            if drawn:
                alone = seeded(call, torch.cat([others[:row], together[this], others[row + 1 :]]))[this]
                said = f"other rows change row {row + 1}{when}"
            else:
                alone = call(together[this])
                said = f"row {row + 1} read alone differs from the same row among others{when}"
            worst = max(worst, share(alone, whole[this]))
            hold(worst, EXACT, said)
    return worst


def _beside(others: Tensor, whole: Tensor, ids: Tensor) -> float:
    """The largest change of documents, in training, when the first of each row is another."""
    later = ids > 0
    change = share(others[later], whole[later])
    hold(change, EXACT, "the first document of a row changes the others in training")
    return change


def _alone(network: Any, tokens: Tensor, packed: Tensor, cuts: tuple[tuple[int, ...], ...]) -> float:
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


def _long(subject: Layer) -> float:
    """Longer documents, in the attention alone and without positions, which begin anew in each."""
    layer, x, ids = subject.layer(), subject.stream(1, sum(LONG)), _ids(LONG)
    told: dict[str, Any] = {"rotation": None, "bias": None}

    def packed(x: Tensor) -> Tensor:
        return subject.call(layer, x, documents=ids, memory=memory(x, ids), **told)[0]

    worst = 0.0
    for training, whole in modes(layer, partial(packed, x)):
        if training:
            found = _beside(seeded(packed, torch.where(ids.unsqueeze(-1) == 0, -x, x)), whole, ids)
        else:
            alone = (subject.call(layer, x[:, at], memory=memory(x, part=at), **told)[0] for at in _places(LONG))
            found = share(whole, torch.cat([*alone], dim=1))
            said = f"documents of {', '.join(map(str, LONG))} tokens differ from the same documents alone"
            hold(found, EXACT, said)
        worst = max(worst, found)
    return worst


def _ids(lengths: tuple[int, ...]) -> Tensor:
    """The document of each token (1, T)."""
    return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]


def _places(lengths: tuple[int, ...]) -> list[slice]:
    """Where each document stands."""
    ends = torch.tensor(lengths).cumsum(0).tolist()
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
