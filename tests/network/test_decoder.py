"""The decoder: causality, cache, documents and initialisation, for every combination of parts."""

from contextlib import nullcontext
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn

from lmkit.errors import UserError
from lmkit.layers import (
    MLP,
    ALiBi,
    At,
    Gated,
    GatedDeltaNet,
    LayerNorm,
    Learned,
    NoPosition,
    Norm,
    RMSNorm,
    Rotary,
    SelfAttention,
    Sinusoidal,
)
from lmkit.layers.kernels import dense
from lmkit.layers.weights import initialize
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


class Same(NoPosition):
    """Gives the same `At` in every forward."""

    at = At()

    def forward(self, x, positions):
        return x, self.at


def test_a_mask_is_made_once_a_forward_and_not_kept_for_the_next(monkeypatch):
    made = []
    plain = dense._mask_and_bias
    monkeypatch.setattr(dense, "_mask_and_bias", lambda *args: made.append(1) or plain(*args))
    network, ids = decoder(position=Same), tokens(1)
    for documents in (torch.zeros(1, T), torch.arange(T)[None] // 4):
        alone = decoder(position=NoPosition)(ids, documents=documents)
        made.clear()
        torch.testing.assert_close(network(ids, documents=documents), alone, rtol=0, atol=1e-12)
        assert len(made) == 1  # of two blocks


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
@pytest.mark.parametrize("children_first", [True, False])
def test_what_is_built_on_meta_fills_to_what_its_constructors_made(position, block, tied, children_first, monkeypatch):
    """Constructors fill real memory when nothing hides the device from them; draws are replaced by their deviation."""
    monkeypatch.setattr(nn.init, "normal_", lambda tensor, mean=0.0, std=1.0: nn.init.constant_(tensor, std))

    def build():
        recipe = partial(SelfAttention, qk_norm=LayerNorm, bias=True)
        return Decoder(V, T, 24, 2, 4, LayerNorm, position, recipe, Gated, block, tied)

    with monkeypatch.context() as patch:
        device = torch.device
        patch.setattr(torch, "device", lambda name, *rest: nullcontext() if name == "meta" else device(name, *rest))
        patch.setattr("lmkit.network.transformer.initialize", lambda network, device: None)
        constructed = build()
    with torch.device("meta"):
        meta = build()
    assert all(parameter.is_meta for parameter in meta.parameters())
    if children_first:
        meta.to_empty(device="cpu").apply(lambda part: getattr(part, "reset_parameters", lambda: None)())
    else:
        initialize(meta, torch.device("cpu"))
    for (name, one), (_, other) in zip(constructed.state_dict().items(), meta.state_dict().items(), strict=True):
        assert torch.equal(one, other), name


def test_a_seed_makes_a_network():
    networks = []
    for build in (lambda: Decoder(V, T, 24, 2, 4), lambda: on_meta_then_filled()):
        torch.manual_seed(3)
        networks.append(build().state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


def on_meta_then_filled():
    with torch.device("meta"):
        network = Decoder(V, T, 24, 2, 4)
    initialize(network, torch.device("cpu"))
    return network


class Shifted(RMSNorm):
    """Inherits a `reset_parameters` that does not know of its tensors."""

    def __init__(self, dim: int, kind: str = "parameter") -> None:
        super().__init__(dim)
        if kind == "parameter":
            self.shift = nn.Parameter(torch.zeros(dim))
        else:
            self.register_buffer("count", torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize(("kind", "name"), [("parameter", "shift"), ("buffer", "count")])
def test_what_an_inherited_reset_leaves_unfilled_is_refused(kind, name):
    with pytest.raises(UserError, match=rf"Shifted\.reset_parameters\(\) does not fill {name}"):
        Decoder(V, T, 24, 2, 4, norm=partial(Shifted, kind=kind))


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


@pytest.mark.parametrize("window", [None, 4])
def test_a_cache_that_grows_is_one_that_was_large_from_the_start(window):
    network, ids = decoder(window=window), tokens()
    cache = network.cache(capacity=5)
    first = network(ids[:, :5], cache=cache)
    cache.grow(T)
    found = torch.cat([first, network(ids[:, 5:9], cache=cache), network(ids[:, 9:], cache=cache)], dim=1)
    torch.testing.assert_close(found, network(ids), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "attention", [partial(SelfAttention, kv_heads=2), partial(SelfAttention, window=4), GatedDeltaNet]
)
def test_rows_of_a_cache_can_be_taken_in_any_order_and_several_times(attention):
    torch.manual_seed(0)
    network = Decoder(V, T, 24, 2, 4, attention=attention).double().eval()
    ids, chosen = tokens(rows=3), torch.tensor([2, 0, 2, 1])
    cache = network.cache()
    network(ids[:, :9], cache=cache)
    cache.select(chosen)
    found = network(ids[chosen, 9:], cache=cache)
    torch.testing.assert_close(found, network(ids[chosen])[:, 9:], rtol=0, atol=1e-10)
