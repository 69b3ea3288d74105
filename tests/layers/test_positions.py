"""Rotary positions of every kind and biases: against slow references, and against transformers where it has them."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from transformers import GPTNeoXConfig, LlamaConfig, T5Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.gpt_neox import modeling_gpt_neox
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding
from transformers.models.t5.modeling_t5 import T5Attention

from lmkit.errors import UserError
from lmkit.layers import (
    ALiBi,
    At,
    RelativeBias,
    Rotary,
    RotaryInterpolated,
    RotaryLlama3,
    RotaryNTK,
    RotaryYaRN,
    SelfAttention,
    rotate,
)
from lmkit.network import Decoder, Encoder
from tests.layers import references

V, T, H, K = 50, 16, 4, 16
D = H * K

SCALED = [  # ours, its reference, and what transformers calls it and its options
    (partial(RotaryInterpolated, factor=3.0), references.interpolated_frequency, {"rope_type": "linear"}),
    (partial(RotaryNTK, factor=3.0), references.ntk_frequency, {"rope_type": "dynamic"}),
    (
        partial(RotaryLlama3, factor=8.0, low=1.0, high=4.0, original_context=512),
        references.llama3_frequency,
        {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    ),
    (partial(RotaryYaRN, factor=4.0, original_context=512), references.yarn_frequency, {"rope_type": "yarn"}),
    (
        partial(RotaryYaRN, factor=32.0, original_context=512, truncate=False),  # gpt-oss
        references.yarn_frequency,
        {"rope_type": "yarn", "truncate": False},
    ),
    (
        partial(RotaryYaRN, factor=4.0, original_context=512, fast=16.0, slow=2.0, attention_factor=1.3),
        references.yarn_frequency,
        {"rope_type": "yarn", "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.3},
    ),
]


def options(recipe):
    return {name: value for name, value in recipe.keywords.items() if name != "attention_factor"}


def turned(position, positions):
    """Cosines and sines (T, R) of positions (T) in float64."""
    return [
        part[0, 0] for part in position(torch.zeros(1, len(positions), D).double(), positions[None])[1].rotation[:2]
    ]


@pytest.mark.parametrize(("recipe", "reference", "theirs"), SCALED)
@pytest.mark.parametrize("width", [K, 12])
@pytest.mark.parametrize("base", [100.0, 500000.0])
def test_frequencies_are_those_of_the_paper(recipe, reference, theirs, width, base):
    made = recipe(D, H, 4096, base=base, width=width).frequencies(torch.device("cpu"))
    expected = [reference(i, width, base, **options(recipe)) for i in range(width // 2)]
    torch.testing.assert_close(made.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("recipe", "reference", "theirs"), SCALED)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_cosines_and_sines_are_those_of_transformers(recipe, reference, theirs, share):
    given = options(recipe)
    rope = {
        "rope_theta": 5000.0,
        "partial_rotary_factor": share,
        "factor": given["factor"],
        "original_max_position_embeddings": given.get("original_context"),
        **theirs,
    }
    config = LlamaConfig(hidden_size=D, num_attention_heads=H, max_position_embeddings=512, rope_parameters=rope)
    length = None
    if rope["rope_type"] == "dynamic":  # its factor of 2 at twice the old context: 2 * 2 - 2 + 1 = 3
        config.rope_parameters["factor"], length = 2.0, 1024
    frequencies, amplitude = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, seq_len=length)
    positions = torch.tensor([0, 1, 2, 9, 60, 400])
    angles = (positions[:, None].float() * frequencies).repeat(1, 2)
    cos, sin = turned(recipe(D, H, 4096, base=5000.0, width=int(share * K)), positions)
    torch.testing.assert_close(cos, (angles.cos() * amplitude).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(sin, (angles.sin() * amplitude).double(), rtol=0, atol=1e-6)


def test_deepseeks_mscale_is_an_attention_factor():
    config = LlamaConfig(hidden_size=D, num_attention_heads=H, max_position_embeddings=2048)
    config.rope_parameters = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 40.0, "mscale": 1.0}
    config.rope_parameters |= {"mscale_all_dim": 0.5, "original_max_position_embeddings": 512}
    _, theirs = ROPE_INIT_FUNCTIONS["yarn"](config)
    m = lambda c: 0.1 * c * torch.tensor(40.0).log().item() + 1  # noqa: E731
    ours = RotaryYaRN(D, H, 2048, factor=40.0, attention_factor=m(1.0) / m(0.5))
    assert ours.amplitude == pytest.approx(theirs)
    assert RotaryYaRN(D, H, 2048, factor=40.0).amplitude == pytest.approx(m(1.0))
    assert RotaryYaRN(D, H, 2048, factor=4.0).original_context == 512


def test_plain_rotary_is_llamas_to_the_last_bit():
    positions = torch.tensor([0, 1, 2, 9, 60, 400, 4095])
    theirs = LlamaRotaryEmbedding(LlamaConfig(hidden_size=D, num_attention_heads=H, rope_theta=10000.0))
    x = torch.zeros(1, len(positions), D)
    _, at = Rotary(D, H, 4096)(x, positions[None])
    for ours, other in zip(at.rotation[:2], theirs(x, positions[None]), strict=True):
        assert torch.equal(ours[:, 0], other)


def test_partial_rotary_is_gpt_neoxs():
    config = GPTNeoXConfig(hidden_size=D, num_attention_heads=H, rotary_pct=0.25, max_position_embeddings=64)
    x, positions = torch.zeros(2, T, D), torch.arange(T)[None]
    q, k = torch.randn(2, 2, H, T, K)
    theirs = modeling_gpt_neox.apply_rotary_pos_emb(
        q, k, *modeling_gpt_neox.GPTNeoXRotaryEmbedding(config)(x, positions)
    )
    _, at = Rotary(D, H, 64, width=4)(x, positions)
    for ours, other, before in zip((rotate(q, *at.rotation), rotate(k, *at.rotation)), theirs, (q, k), strict=True):
        torch.testing.assert_close(ours, other)
        assert torch.equal(ours[..., 4:], before[..., 4:])


def test_heads_wider_than_their_share_are_rotated_whole():
    q, positions = torch.randn(1, H, T, 20), torch.arange(T)[None]
    _, at = Rotary(24, H, T, base=50.0, width=20)(torch.zeros(1, T, 24), positions)
    for t in range(T):
        expected = references.rotate_one(q[0, 1, t].tolist(), t, 50.0)
        torch.testing.assert_close(rotate(q, *at.rotation)[0, 1, t], torch.tensor(expected), atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="rotates 20 numbers of a head, but the attention's have 6"):
        SelfAttention(24, H)(torch.randn(1, T, 24), at)


DISTANCES = torch.arange(-300, 301).reshape(1, -1)


@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize(("buckets", "longest"), [(32, 128), (8, 20), (16, 129), (4, 128), (64, 256)])
def test_buckets_are_those_of_t5(buckets, longest, both_ways):
    ours = RelativeBias(D, H, T, buckets, longest, both_ways).buckets(DISTANCES)
    theirs = T5Attention._relative_position_bucket(-DISTANCES, both_ways, buckets, longest)
    assert torch.equal(ours, theirs)
    assert ours[0].tolist() == [references.bucket(d, buckets, longest, both_ways) for d in DISTANCES[0].tolist()]


@pytest.mark.parametrize("both_ways", [False, True])
def test_a_bias_is_right_for_any_distances(both_ways):
    position = RelativeBias(D, H, T, both_ways=both_ways)
    distances = torch.randint(-200, 200, (5, 7))
    _, at = position(torch.zeros(1, T, D), torch.arange(T)[None])
    bias = at.bias(distances)
    assert bias.shape == (H, 5, 7)
    for (t, s), distance in [((t, s), int(distances[t, s])) for t in range(5) for s in range(7)]:
        assert torch.equal(bias[:, t, s], position.table.weight[references.bucket(distance, 32, 128, both_ways)])


def test_alibi_lowers_by_the_distance_in_both_directions():
    position = ALiBi(D, H, T)
    distances = torch.randint(-200, 200, (5, 7))
    bias = position(torch.zeros(1, T, D).double(), torch.arange(T)[None])[1].bias(distances)
    for h, slope in enumerate(position.slopes):
        expected = [[-slope * abs(d) for d in row] for row in distances.tolist()]
        torch.testing.assert_close(bias[h], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("causal", [True, False])
def test_attention_with_relative_bias_is_t5s_and_its_table_learns_the_same(causal):
    torch.manual_seed(0)
    time, width = 40, 6
    config = T5Config(d_model=24, d_kv=width, num_heads=H, relative_attention_num_buckets=8, dropout_rate=0.0)
    config.relative_attention_max_distance, config.is_decoder = 20, causal
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0).double()
    ours = SelfAttention(24, H, head_dim=width, scale=1.0).double()
    position = RelativeBias(24, H, time, 8, 20, both_ways=not causal).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    for name in "qkvo":
        getattr(ours, "out" if name == "o" else name).load_state_dict(getattr(theirs, name).state_dict())
    position.table.load_state_dict(theirs.relative_attention_bias.state_dict())
    x = torch.randn(2, time, 24, dtype=torch.float64)
    mask = torch.full((time, time), float("-inf")).triu(1)[None, None] if causal else None
    expected, _ = theirs(x, mask=mask, cache_position=torch.arange(time))
    _, at = position(x, torch.arange(time)[None])
    y = ours(x, At(bias=at.bias, causal=causal))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5)  # T5's softmax is in float32
    y.sin().sum().backward()
    expected.sin().sum().backward()
    torch.testing.assert_close(
        position.table.weight.grad, theirs.relative_attention_bias.weight.grad, rtol=0, atol=1e-5
    )


POSITIONS = [
    partial(Rotary, width=4),
    partial(RotaryInterpolated, factor=2.0),
    partial(RotaryNTK, factor=2.0),
    partial(RotaryYaRN, factor=2.0, original_context=64),
    partial(RotaryLlama3, original_context=64, base=100.0),
    ALiBi,
]
ONE_WAY = partial(RelativeBias, buckets=8, longest=10)
BOTH_WAYS = partial(RelativeBias, buckets=8, longest=10, both_ways=True)


def filled(kind, position, **attention):
    torch.manual_seed(0)
    network = kind(V, T, 24, 2, 3, position=position, attention=partial(SelfAttention, **attention))
    for parameter in network.parameters():  # fresh ones are so small that a leak would hide in rounding
        nn.init.normal_(parameter, std=0.3)
    return network.double().eval()


@pytest.mark.parametrize("position", [*POSITIONS, ONE_WAY])
@pytest.mark.parametrize("window", [None, 5])
def test_in_a_decoder_nothing_sees_ahead_and_the_cache_changes_nothing(position, window):
    network, ids = filled(Decoder, position, window=window), torch.randint(V, (2, T))
    whole, other = network(ids), ids.clone()
    other[:, 9:] = (other[:, 9:] + 1) % V
    torch.testing.assert_close(network(other)[:, :9], whole[:, :9], rtol=0, atol=1e-12)
    assert not torch.allclose(network(other)[:, 9:], whole[:, 9:])
    cache = network.cache()
    pieces = [network(part, cache=cache) for part in ids.split((6, 1, 1, 8), dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "position"), [*product([Decoder, Encoder], POSITIONS), (Decoder, ONE_WAY), (Encoder, BOTH_WAYS)]
)
def test_documents_are_read_as_if_alone(kind, position):
    network, ids, lengths = filled(kind, position), torch.randint(V, (1, T)), [5, 1, 7, 3]
    documents = torch.repeat_interleave(torch.arange(4), torch.tensor(lengths))[None]
    alone = [network(part) for part in ids.split(lengths, dim=1)]
    torch.testing.assert_close(network(ids, documents=documents), torch.cat(alone, dim=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("window", [None, 3])
def test_an_encoder_with_alibi_reads_backwards_what_it_reads_forwards(window):
    network, ids = filled(Encoder, ALiBi, window=window), torch.randint(V, (2, T))
    torch.testing.assert_close(network(ids.flip(1)).flip(1), network(ids), rtol=0, atol=1e-12)
    scrambled = ids[:, torch.randperm(T, generator=torch.Generator().manual_seed(0))]
    assert not torch.allclose(network(scrambled).sort(dim=1).values, network(ids).sort(dim=1).values)
    one_sided = filled(Encoder, BOTH_WAYS, window=window)
    assert not torch.allclose(one_sided(ids.flip(1)).flip(1), one_sided(ids))


@pytest.mark.parametrize("position", [ALiBi, BOTH_WAYS])
def test_tiles_of_a_window_add_the_same_bias_as_a_loop(position):
    torch.manual_seed(0)
    time, window = 150, 4
    layer, made = SelfAttention(6, 3, window=window).double(), position(6, 3, time).double()
    x = torch.randn(1, time, 6, dtype=torch.float64)
    for parameter in (*layer.parameters(), *made.parameters()):
        nn.init.normal_(parameter)
    _, at = made(x, torch.arange(time)[None])
    q, k, v = ((x[0] @ part.weight.T).view(time, 3, 2) for part in (layer.q, layer.k, layer.v))
    rows = []
    for t in range(time):
        seen = [s for s in range(time) if abs(t - s) < window]
        bias = at.bias(torch.tensor([[t - s for s in seen]]))[:, 0]
        weights = (torch.einsum("hk,shk->hs", q[t], k[seen]) / 2**0.5 + bias).softmax(-1)
        rows.append(torch.einsum("hs,shk->hk", weights, v[seen]).flatten() @ layer.out.weight.T)
    torch.testing.assert_close(layer(x, At(bias=at.bias, causal=False))[0], torch.stack(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: Rotary(24, H, T, width=5), "width is 5: give an even number"),
        (lambda: Rotary(24, H, T, width=0), "width is 0"),
        (lambda: RotaryNTK(25, 5, T, 2.0), "RotaryNTK needs heads of an even width, but dim 25 over 5 heads is 5"),
        (lambda: Rotary(24, H, T, base=1.0), "base of Rotary is 1: give a number of tokens above 1"),
        (lambda: RotaryInterpolated(24, H, T, 0.5), "factor is 0.5: give how many times longer"),
        (lambda: RotaryNTK(24, H, T, 2.0, width=2), "width is 2: make it 4 or more"),
        (lambda: RotaryYaRN(24, H, T, 2.0, fast=1.0), "slow is 1 and fast is 1"),
        (
            lambda: RotaryYaRN(24, H, T, 2.0, 8192, base=1.5),
            "turns between 1 and 32 times in an original_context of 8192",
        ),
        (lambda: RotaryYaRN(24, H, T, 2.0, 0), "original_context is 0: give a number of tokens"),
        (lambda: RotaryLlama3(24, H, T, original_context=-1), "original_context is -1"),
        (lambda: RotaryLlama3(24, H, T, low=5.0), "low is 5 and high is 4"),
        (lambda: RelativeBias(24, H, T, buckets=7), "buckets is 7, but RelativeBias needs a multiple of 2"),
        (lambda: RelativeBias(24, H, T, buckets=6, both_ways=True), "a multiple of 4"),
        (lambda: RelativeBias(24, H, T, longest=16), "longest is 16 tokens, but the first 16 distances"),
    ],
)
def test_what_does_not_fit_is_said(make, needed):
    with pytest.raises(UserError, match=needed):
        make()


def test_heads_wider_than_what_is_rotated_need_a_word():
    """Silence would leave half of each head without positions."""
    x, places = torch.randn(1, 5, 24), torch.arange(5)[None]
    layer = SelfAttention(24, 4, head_dim=12)
    with pytest.raises(UserError, match="rotates 6 numbers of a head, but the attention's have 12: set the position's"):
        layer(x, Rotary(24, 4, 5)(x, places)[1])
    with pytest.raises(UserError, match="rotates 14 numbers of a head, but the attention's have 12"):
        layer(x, Rotary(24, 4, 5, width=14)(x, places)[1])
    for width in (6, 12):
        assert layer(x, Rotary(24, 4, 5, width=width)(x, places)[1]).shape == x.shape
