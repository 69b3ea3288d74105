"""The decoder: causality, cache, documents and initialisation, for every combination of parts."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import nn

from lmkit.errors import UserError
from lmkit.layers import (
    MLP,
    ALiBi,
    Gated,
    LayerNorm,
    Learned,
    NoPosition,
    Norm,
    RMSNorm,
    Rotary,
    SelfAttention,
    Sinusoidal,
)
from lmkit.layers.kinds import initialize
from lmkit.network import Decoder, PostNorm, PreNorm, SandwichNorm

V, T = 50, 16
NORMS = (LayerNorm, RMSNorm)
POSITIONS = (Learned, Sinusoidal, Rotary, ALiBi, NoPosition)
FEED_FORWARDS = (MLP, Gated)
COMBINATIONS = list(product(NORMS, POSITIONS, FEED_FORWARDS))


def decoder(norm=RMSNorm, position=Rotary, feed_forward=MLP, block=PreNorm, tied=True, **attention):
    torch.manual_seed(0)
    recipe = partial(SelfAttention, **attention)
    network = Decoder(V, T, 24, 2, 4, norm, position, recipe, feed_forward, block, tied)
    for parameter in network.parameters():  # fresh ones are so small that a leak would hide in rounding
        nn.init.normal_(parameter, std=0.3)
    return network.double().eval()


def tokens(rows=2):
    return torch.randint(V, (rows, T), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("norm", "position", "feed_forward"), COMBINATIONS)
@pytest.mark.parametrize("block", [PreNorm, PostNorm, SandwichNorm])
def test_a_future_token_cannot_change_a_past_logit(norm, position, feed_forward, block):
    network = decoder(norm, position, feed_forward, block)
    before = tokens()
    after = before.clone()
    after[:, 9:] = (after[:, 9:] + 1) % V
    one, other = network.logits(network(before)), network.logits(network(after))
    torch.testing.assert_close(one[:, :9], other[:, :9], rtol=0, atol=1e-12)
    assert not torch.allclose(one[:, 9:], other[:, 9:])


@pytest.mark.parametrize(("norm", "position", "feed_forward"), COMBINATIONS)
@pytest.mark.parametrize("attention", [{}, {"kv_heads": 2, "window": 5}, {"kv_heads": 1, "qk_norm": RMSNorm}])
def test_cached_decoding_equals_reading_at_once(norm, position, feed_forward, attention):
    network, ids = decoder(norm, position, feed_forward, **attention), tokens()
    cache = network.cache()
    pieces = [network(ids[:, a:b], cache=cache) for a, b in ((0, 6), (6, 7), (7, 8), (8, 12), (12, T))]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(ids), rtol=0, atol=1e-10)


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("window", [None, 3])
def test_separate_documents_equal_unpacked_rows(position, window):
    network, ids = decoder(position=position, window=window), tokens(1)
    lengths = [5, 1, 7, 3]
    documents = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))[None]
    alone = [network(part) for part in ids.split(lengths, dim=1)]
    torch.testing.assert_close(network(ids, documents=documents), torch.cat(alone, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("norm", "position", "feed_forward"), COMBINATIONS)
def test_every_combination_learns(norm, position, feed_forward):
    torch.manual_seed(0)
    network, ids = Decoder(V, T, 24, 2, 4, norm, position, SelfAttention, feed_forward), tokens(1)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(network.logits(network(ids[:, :-1])).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(torch.tensor(float(V)).log().item(), abs=0.15)
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("block", [PreNorm, PostNorm, SandwichNorm])
@pytest.mark.parametrize("tied", [True, False])
def test_meta_initialisation_equals_eager(position, block, tied):
    def build():
        recipe = partial(SelfAttention, qk_norm=LayerNorm, bias=True)
        return Decoder(V, T, 24, 2, 4, LayerNorm, position, recipe, Gated, block, tied)

    torch.manual_seed(3)
    eager = build()
    with torch.device("meta"):
        meta = build()
    assert all(parameter.is_meta for parameter in meta.parameters())
    torch.manual_seed(3)
    initialize(meta, torch.device("cpu"))
    for (name, one), (_, other) in zip(eager.state_dict().items(), meta.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_projections_into_the_stream_start_smaller_with_depth():
    network = Decoder(V, T, 256, 8, 4)
    assert network.blocks[0].attention.out.weight.std().item() == pytest.approx(0.02 / 4, rel=0.03)
    assert network.blocks[0].attention.q.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_a_layer_that_nothing_would_fill_is_refused():
    class Forgetful(Norm):
        def __init__(self, dim: int) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(dim))

        def forward(self, x):
            return x * self.scale

    with pytest.raises(UserError, match=r"Forgetful owns scale but has no reset_parameters"):
        Decoder(V, T, 24, 2, 4, norm=Forgetful)


def test_tied_head_is_the_embedding():
    tied, untied = decoder(tied=True), decoder(tied=False)
    assert tied.head_weight is tied.embedding.weight
    assert untied.head_weight is untied.head.weight
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == V * 24


def test_a_full_cache_says_so():
    network = decoder()
    cache = network.cache(capacity=4)
    with pytest.raises(ValueError, match="holds 4 tokens, but 5"):
        network(tokens()[:, :5], cache=cache)
