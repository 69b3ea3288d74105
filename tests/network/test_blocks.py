"""The wirings of a block, each against its equation; patterns over the depth; what the ends of a network may have."""

import pickle
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from lmkit.errors import UserError
from lmkit.layers import (
    MLP,
    ALiBi,
    At,
    Gated,
    LayerNorm,
    Learned,
    MixtureOfExperts,
    NoPosition,
    RelativeBias,
    RMSNorm,
    Rotary,
    SelfAttention,
)
from lmkit.network import (
    BranchNorm,
    Decoder,
    DeepNorm,
    DepthScaled,
    Layer,
    LayerScale,
    Parallel,
    ParallelTwoNorms,
    PostNorm,
    PreNorm,
    SandwichNorm,
)

V, T, D, DEPTH = 50, 16, 24, 3


pytestmark = pytest.mark.usefixtures("double")


def filled(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


EQUATIONS = {
    PreNorm: lambda b, x, a, f: (y := x + a(b.attention_norm(x))) + f(b.feed_forward_norm(y)),
    PostNorm: lambda b, x, a, f: b.feed_forward_norm((y := b.attention_norm(x + a(x))) + f(y)),
    BranchNorm: lambda b, x, a, f: (y := x + b.attention_norm(a(x))) + b.feed_forward_norm(f(y)),
    SandwichNorm: lambda b, x, a, f: (
        (y := x + b.attention_out_norm(a(b.attention_norm(x)))) + b.feed_forward_out_norm(f(b.feed_forward_norm(y)))
    ),
    Parallel: lambda b, x, a, f: x + a(b.norm(x)) + f(b.norm(x)),
    ParallelTwoNorms: lambda b, x, a, f: x + a(b.attention_norm(x)) + f(b.feed_forward_norm(x)),
    DepthScaled: lambda b, x, a, f: (
        (y := x + 1.4 / DEPTH**0.5 * a(b.attention_norm(x))) + 1.4 / DEPTH**0.5 * f(b.feed_forward_norm(y))
    ),
    DeepNorm: lambda b, x, a, f: b.feed_forward_norm(
        (2 * DEPTH) ** 0.25 * (y := b.attention_norm((2 * DEPTH) ** 0.25 * x + a(x))) + f(y)
    ),
    LayerScale: lambda b, x, a, f: (
        (y := x + b.attention_scale * a(b.attention_norm(x))) + b.feed_forward_scale * f(b.feed_forward_norm(y))
    ),
}


@pytest.mark.parametrize("block", EQUATIONS)
def test_a_block_is_its_equation(block):
    made = filled(block(D, DEPTH, LayerNorm, SelfAttention(D, 4), MLP(D)))
    x = torch.randn(2, T, D)
    expected = EQUATIONS[block](made, x, lambda y: made.attention(y, At()), made.feed_forward)
    torch.testing.assert_close(made(x, At()), expected, rtol=0, atol=1e-12)
    norms = sum(isinstance(part, LayerNorm) for part in made.modules())
    assert norms == len(block.norms)
    stream_is_normed = bool((made(100 * x, At()).abs() < 100).all())
    assert stream_is_normed == block.gives_normed


def test_first_values_by_depth():
    deviations = {
        block: Decoder(V, T, 256, 8, 4, block=block).blocks[0].attention.out.std
        for block in (PreNorm, DeepNorm, DepthScaled)
    }
    assert deviations[PreNorm] == pytest.approx(0.02 * 16**-0.5)
    assert deviations[DepthScaled] == 0.02  # its branches are multiplied instead
    assert deviations[DeepNorm] == pytest.approx(0.02 * 64**-0.25)
    block = Decoder(V, T, 256, 8, 4, feed_forward=partial(MixtureOfExperts, shared=1), block=DeepNorm).blocks[0]
    smaller = {"v", "up", "gate", "out"}
    for name, part in block.named_modules():
        if hasattr(part, "std"):
            scaled = name.rpartition(".")[2] in smaller
            assert part.std == pytest.approx(0.02 * (64**-0.25 if scaled else 1)), name
            assert part.weight.std().item() == pytest.approx(part.std, rel=0.05), name
    scales = Decoder(V, T, D, DEPTH, 4, block=partial(LayerScale, start=0.0))
    tokens = torch.randint(V, (1, T))
    torch.testing.assert_close(scales(tokens), scales.norm(scales.embedding(tokens)))  # each block is the identity


@pytest.mark.parametrize("position", [ALiBi, RelativeBias, Rotary])
def test_recomputed_blocks_give_the_same_gradients(position):
    network, tokens = decoder(3, position=position), torch.randint(V, (2, T))
    network(tokens).square().sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    for block in network.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    network(tokens).square().sum().backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=1e-12)


def decoder(depth=5, **options):
    return filled(Decoder(V, T, D, depth, 4, **options))


def test_a_pattern_is_repeated_over_the_depth():
    network = decoder(
        pattern=[Layer(attention=partial(SelfAttention, window=4), repeat=2), Layer(feed_forward=Gated)], depth=7
    )
    assert [block.attention.window for block in network.blocks] == [4, 4, None, 4, 4, None, 4]
    assert [type(block.feed_forward) for block in network.blocks] == [MLP, MLP, Gated, MLP, MLP, Gated, MLP]


def test_a_network_can_be_pickled_whole():
    network, tokens = decoder(pattern=[Layer(feed_forward=Gated), Layer()]), torch.randint(V, (1, T))
    assert torch.equal(pickle.loads(pickle.dumps(network))(tokens), network(tokens))


def test_each_layer_of_a_pattern_has_its_position():
    """Rotary in local layers, none in global ones; the network's own where none is named."""
    pattern = [Layer(position=NoPosition), Layer(position=partial(Rotary, base=50.0)), Layer()]
    network, tokens = decoder(pattern=pattern, position=ALiBi), torch.randint(V, (2, T))
    x = network.embedding(tokens)
    places = torch.arange(T)[None]
    for number, block in enumerate(network.blocks):
        position = [NoPosition(D, 4, T), Rotary(D, 4, T, base=50.0), ALiBi(D, 4, T)][number % 3]
        x = block(x, position(x, places)[1])
    torch.testing.assert_close(network(tokens), network.norm(x), rtol=0, atol=1e-12)


def test_a_learned_position_of_a_pattern_is_filled_and_added_once():
    network, tokens = decoder(pattern=[Layer(), Layer(position=Learned)], position=NoPosition), torch.arange(T)[None]
    x, _ = network.embed(tokens, torch.arange(T)[None])
    torch.testing.assert_close(x, network.embedding(tokens) + network.layer_positions[0].table.weight)


def test_a_hybrid_decodes_as_it_reads_and_keeps_its_window_only():
    window = partial(SelfAttention, window=3, kv_heads=2)
    network = decoder(pattern=[Layer(attention=window, repeat=3), Layer(position=NoPosition)])
    tokens, cache = torch.randint(V, (2, T)), network.cache()
    pieces = [network(piece, cache=cache) for piece in tokens.split([6, 1, 1, 8], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(tokens), rtol=0, atol=1e-12)
    number = 8  # bytes
    local, all_of_it = 2 * 2 * 2 * 2 * (D // 4) * number, 2 * 2 * 4 * T * (D // 4) * number
    assert [layer.bytes for layer in cache.layers] == [local, local, local, all_of_it, local]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ([], "pattern is an empty list"),
        ([Layer(repeat=0)], "repeat is 0 in the pattern"),
        ([Layer(repeat=6)], "the pattern has 6 layers, but the network only 5"),
    ],
)
def test_a_pattern_that_does_not_fit_is_said(pattern, said):
    with pytest.raises(UserError, match=said):
        decoder(pattern=pattern)


def test_the_ends_of_a_network():
    network = decoder(embedding_scale=3.0, embedding_norm=partial(RMSNorm, eps=0.1), soft_cap=0.8, position=NoPosition)
    tokens = torch.randint(V, (2, T))
    x, _ = network.embed(tokens, torch.arange(T)[None])
    torch.testing.assert_close(x, network.embedding_norm(3 * network.embedding(tokens)))
    hidden = network(tokens)
    torch.testing.assert_close(network.logits(hidden), 0.8 * torch.tanh(hidden @ network.embedding.weight.T / 0.8))
    with pytest.raises(UserError, match="soft_cap is 0"):
        decoder(soft_cap=0.0)
    with pytest.raises(UserError, match="embedding_scale is 0"):
        decoder(embedding_scale=0.0)
