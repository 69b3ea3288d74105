"""Gated DeltaNet: its two forms against each other and transformers' Qwen3-Next, its documents, its cache."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.nn.init import normal_
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen3NextConfig
from transformers.models.qwen3_next.modeling_qwen3_next import (
    Qwen3NextGatedDeltaNet,
    torch_chunk_gated_delta_rule,
    torch_recurrent_gated_delta_rule,
)

from lmkit.errors import UserError
from lmkit.layers import At, GatedDeltaNet, RMSNorm, SelfAttention
from lmkit.layers.delta_rule import chunked_delta_rule, delta_rule, recurrent_delta_rule
from lmkit.layers.gated_delta_net import Decay
from lmkit.layers.short_convolution import ShortConvolution
from lmkit.layers.weights import initialize
from lmkit.network import Decoder, Encoder, Layer

B, H, K, L, D, V = 2, 3, 4, 5, 12, 50
LENGTHS = (5, 1, 9, 4)
T = sum(LENGTHS)
DOCUMENTS = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS)).expand(B, T)
RULES = [recurrent_delta_rule, *(partial(chunked_delta_rule, chunk=chunk) for chunk in (1, 3, 8, 64))]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def asked(time=T, dtype=torch.float64):
    """q, k, v, g and beta, and a state to start from."""
    q, k = F.normalize(torch.randn(2, B, H, time, K, dtype=dtype), dim=-1)
    v, state = torch.randn(B, H, time, L, dtype=dtype), torch.randn(B, H, K, L, dtype=dtype)
    g, beta = -torch.rand(B, H, time, dtype=dtype), torch.rand(B, H, time, dtype=dtype)
    return [x.requires_grad_() for x in (q, k, v, g, beta, state)]


def with_gradients(rule, inputs, **options):
    """What a rule gives, and the gradients of all that it was given."""
    results = rule(*inputs, **options)
    weighted = sum((x * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)).sum() for x in results)
    return [*results, *torch.autograd.grad(weighted, inputs)]


def one_by_one(q, k, v, g, beta, state, documents):
    """The paper's equation 10, with (I - beta k k^T) spelled out, for one head of one row at a time."""
    outputs, states = torch.zeros_like(v), torch.zeros_like(state)
    for b in range(B):
        for h in range(H):
            now = state[b, h]
            for t in range(q.size(2)):
                if t and documents[b, t] != documents[b, t - 1]:
                    now = torch.zeros_like(now)
                forget = torch.eye(K, dtype=k.dtype) - beta[b, h, t] * torch.outer(k[b, h, t], k[b, h, t])
                now = g[b, h, t].exp() * forget @ now + beta[b, h, t] * torch.outer(k[b, h, t], v[b, h, t])
                outputs[b, h, t] = now.T @ q[b, h, t]
            states[b, h] = now
    return outputs, states


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("documents", [DOCUMENTS, torch.zeros(B, T)], ids=["documents", "one"])
def test_each_form_is_the_papers_equation(rule, documents):
    with torch.no_grad():
        inputs = asked()
        for got, expected in zip(rule(*inputs, documents=documents), one_by_one(*inputs, documents), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 3, 8, T, 64])
@pytest.mark.parametrize("time", [1, 7, T])
@pytest.mark.parametrize("documents", [DOCUMENTS, None], ids=["documents", "one"])
@pytest.mark.parametrize("begun", [True, False])
def test_chunks_equal_single_tokens_in_results_and_gradients(chunk, time, documents, begun):
    inputs = asked(time)[: None if begun else 5]
    own = None if documents is None else documents[:, :time]
    chunked = with_gradients(chunked_delta_rule, inputs, documents=own, chunk=chunk)
    for got, expected in zip(chunked, with_gradients(recurrent_delta_rule, inputs, documents=own), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rule", RULES)
def test_documents_equal_each_alone(rule):
    *inputs, _ = asked()
    parts = zip(*(x.split(LENGTHS, dim=2) for x in inputs), strict=True)
    alone = [rule(*part) for part in parts]
    output, state = rule(*inputs, documents=DOCUMENTS)
    torch.testing.assert_close(output, torch.cat([y for y, _ in alone], dim=2), rtol=0, atol=1e-12)
    torch.testing.assert_close(state, alone[-1][1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_a_document_has_not_the_least_effect_on_the_next(rule):
    with torch.no_grad():
        inputs = asked(dtype=torch.float32)
        before = rule(*inputs, documents=DOCUMENTS)[0]
        for x in inputs[:5]:
            x[:, :, : LENGTHS[0]] *= 77
        after = rule(*inputs, documents=DOCUMENTS)[0]
    assert torch.equal(before[:, :, LENGTHS[0] :], after[:, :, LENGTHS[0] :])
    assert not torch.allclose(before[:, :, : LENGTHS[0]], after[:, :, : LENGTHS[0]])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("theirs", [torch_chunk_gated_delta_rule, torch_recurrent_gated_delta_rule])
def test_each_form_equals_that_of_transformers(rule, theirs):
    q, k, v, g, beta, state = (x.detach() for x in asked(dtype=torch.float32))
    swapped = [x.transpose(1, 2) for x in (q, k, v, g, beta)]
    expected, last = theirs(*swapped, initial_state=state, output_final_state=True)
    output, final = rule(q * K**-0.5, k, v, g, beta, state)  # theirs scales the queries
    torch.testing.assert_close(output, expected.transpose(1, 2), rtol=0, atol=2e-6)
    torch.testing.assert_close(final, last, rtol=0, atol=2e-6)


def test_gradients_equal_differences():
    inputs = [x[:1, :1, :5].detach().requires_grad_() for x in asked()]
    rule = partial(chunked_delta_rule, documents=torch.tensor([[0, 0, 0, 1, 1]]), chunk=2)
    assert torch.autograd.gradcheck(rule, inputs)


@pytest.mark.parametrize(
    ("hard", "share"),
    [("fades at once", 1e-6), ("never fades", 1e-5), ("writes one key", 1e-5), ("turns one key", 2e-4)],
)
def test_float32_holds_where_sums_could_swell(hard, share):
    inputs = [x.detach() for x in asked(200, torch.float32)]
    _, k, _, g, beta, _ = inputs
    g.mul_(80 if hard == "fades at once" else 0)
    if "key" in hard:
        k[:] = k[:, :, :1]
        beta[:] = 2 if hard.startswith("turns") else 1
    got = with_gradients(chunked_delta_rule, [x.requires_grad_() for x in inputs])
    expected, _ = recurrent_delta_rule(*(x.double() for x in inputs))
    torch.testing.assert_close(got[0].double(), expected, rtol=0, atol=share * expected.abs().max().item())
    assert all(x.isfinite().all() for x in got)


def test_a_decay_is_as_exact_after_a_harsh_one():
    """Differences of sums would have the rounding of the thousand before them, 3e-5."""
    q, k, v, g, beta, _ = (x.detach() for x in asked(64))
    g[:, :, :32] = -40
    g[:, :, 32:] *= 1e-3
    exact, _ = recurrent_delta_rule(q, k, v, g.float().double(), beta)
    got, _ = chunked_delta_rule(q.float(), k.float(), v.float(), g.float(), beta.float())
    assert (got - exact).abs().max() < 3e-6


@pytest.mark.parametrize("time", [1, T])
def test_autocast_does_not_reach_the_rule(time):
    q, k, v, g, beta, state = (x.detach() for x in asked(time, torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        output, last = delta_rule(q, k, v.bfloat16(), g, beta, state)
    expected, last_expected = delta_rule(q, k, v.bfloat16().float(), g, beta, state)
    assert output.dtype == torch.bfloat16
    assert last.dtype == torch.float32
    assert torch.equal(last, last_expected)
    assert torch.equal(output, expected.bfloat16())


@pytest.mark.parametrize("width", [1, 2, 4])
def test_short_convolution(width):
    conv, x = ShortConvolution(D, width).double(), torch.randn(B, T, D, dtype=torch.float64)
    whole, _ = conv(x)
    expected = F.conv1d(F.pad(x.mT, (width - 1, 0)), conv.weight, groups=D).mT
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        conv(x, documents=DOCUMENTS)[0], torch.cat([conv(part)[0] for part in x.split(LENGTHS, dim=1)], dim=1)
    )
    past, pieces = None, []
    for piece in x.split(LENGTHS, dim=1):
        y, past = conv(piece, past)
        assert past.shape == (B, width - 1, D)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-12)


def qwen3_next(heads, v_heads):
    """Their layer with random weights, and ours with the same."""
    config = Qwen3NextConfig(
        hidden_size=D,
        linear_num_key_heads=heads,
        linear_num_value_heads=v_heads,
        linear_key_head_dim=K,
        linear_value_head_dim=L,
        linear_conv_kernel_dim=4,
        rms_norm_eps=1e-6,
    )
    theirs, ours = Qwen3NextGatedDeltaNet(config, 0), GatedDeltaNet(D, heads, v_heads, K, L, chunk=8)
    for parameter in theirs.parameters():
        normal_(parameter, std=0.5)
    share = v_heads // heads
    fused = theirs.in_proj_qkvz.weight.unflatten(0, (heads, -1)).split([K, K, share * L, share * L], dim=1)
    pair = theirs.in_proj_ba.weight.unflatten(0, (heads, -1)).split([share, share], dim=1)
    weights = dict(zip("qkvzba", (part.flatten(0, 1) for part in (*fused, *pair)), strict=True))
    convs = theirs.conv1d.weight.split([heads * K, heads * K, v_heads * L])
    weights |= dict(zip(("q_conv", "k_conv", "v_conv"), convs, strict=True))
    weights |= {"norm": theirs.norm.weight, "out": theirs.out_proj.weight}
    state = {f"{name}.weight": weight for name, weight in weights.items()}
    ours.load_state_dict(state | {"decay.A_log": theirs.A_log, "decay.dt_bias": theirs.dt_bias})
    return theirs, ours


@pytest.mark.parametrize(("heads", "v_heads"), [(3, 3), (2, 4), (1, 3)])
def test_the_layer_equals_that_of_qwen3_next(heads, v_heads):
    theirs, ours = qwen3_next(heads, v_heads)
    x = torch.randn(B, T, D)
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, got = theirs(one), ours(other, At())
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-6)
    (expected**2).sum().backward()
    (got**2).sum().backward()
    torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.decay.A_log.grad, theirs.A_log.grad, rtol=1e-4, atol=1e-4)


def filled(module, std=0.5):
    """Random values everywhere, large enough that no leak hides in rounding."""
    for parameter in module.parameters():
        normal_(parameter, std=std)
    return module


def hybrid(context=T, depth=4):
    """A decoder with a softmax attention after three of these, as Qwen3-Next has it."""
    linear = partial(GatedDeltaNet, v_heads=8, v_head_dim=5, chunk=8)
    pattern = [Layer(attention=linear, repeat=3), Layer(attention=SelfAttention)]
    return filled(Decoder(V, context, 24, depth, 4, pattern=pattern), 0.3).double().eval()


def test_a_future_token_cannot_change_a_past_logit():
    network, before = hybrid(), torch.randint(V, (B, T))
    after = before.clone()
    after[:, 9:] = (after[:, 9:] + 1) % V
    one, other = network(before), network(after)
    torch.testing.assert_close(one[:, :9], other[:, :9], rtol=0, atol=1e-12)
    assert not torch.allclose(one[:, 9:], other[:, 9:])


@pytest.mark.parametrize("pieces", [[1] * T, [6, 1, 1, 8, 3], [2, 17], [T]], ids=str)
def test_cached_decoding_equals_reading_at_once(pieces):
    network, ids = hybrid(), torch.randint(V, (B, T))
    cache = network.cache()
    read = [network(piece, cache=cache) for piece in ids.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(read, dim=1), network(ids), rtol=0, atol=1e-10)


def test_separate_documents_equal_unpacked_rows():
    network, ids = hybrid(), torch.randint(V, (1, T))
    alone = [network(part) for part in ids.split(LENGTHS, dim=1)]
    torch.testing.assert_close(network(ids, DOCUMENTS[:1]), torch.cat(alone, dim=1), rtol=0, atol=1e-10)


@torch.no_grad()
def test_the_cache_has_one_size_for_all_lengths():
    network = Decoder(V, 500, 24, 2, 4, attention=partial(GatedDeltaNet, v_heads=8, v_head_dim=5))
    cache, sizes = network.cache(), []
    for time in (1, 1, 60, 400):
        network(torch.randint(V, (B, time)), cache=cache)
        sizes.append(cache.bytes)
    state, convs = 8 * 6 * 5, 3 * (24 + 24 + 40)
    assert sizes == [2 * B * (state + convs) * 4] * 4


@pytest.mark.parametrize("mode", ["autocast", "bfloat16"])
def test_bfloat16_stays_close(mode):
    layer, x = filled(GatedDeltaNet(64, 4, chunk=16), 0.1), torch.randn(B, 100, 64)
    exact = layer(x, At())
    if mode == "bfloat16":
        layer, x = layer.bfloat16(), x.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
        y = layer(x, At())
    assert y.dtype == torch.bfloat16
    assert (y - exact).norm() < 0.02 * exact.norm()
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("documents", [DOCUMENTS, None], ids=["documents", "one"])
def test_it_compiles_without_a_break(documents):
    layer, x = filled(GatedDeltaNet(D, H, chunk=8)), torch.randn(B, T, D)
    at = At(documents=documents)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")  # whose tracing is all that could break
    torch.testing.assert_close(compiled(x, at), layer(x, at), rtol=0, atol=1e-5)


def test_what_is_built_on_meta_fills_to_what_the_constructor_made():
    made = GatedDeltaNet(D, H)
    with torch.device("meta"):
        late = GatedDeltaNet(D, H)
    torch.manual_seed(0)
    initialize(late, torch.device("cpu"))
    assert all(torch.equal(one, other) for one, other in zip(made.parameters(), late.parameters(), strict=True))


def test_it_runs_on_the_meta_device_where_operations_are_counted():
    with torch.device("meta"):
        layer, x = GatedDeltaNet(D, H, chunk=8), torch.randn(B, T, D)
        assert layer(x, At(documents=DOCUMENTS.to("meta"))).shape == x.shape
    one, two = (flops(layer, time) for time in (800, 1600))
    assert two == 2 * one  # linear in time


def flops(layer, time):
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(1, time, D, device="meta"), At())
    return counter.get_total_flops()


def test_memories_start_with_the_lengths_of_the_paper():
    decay = Decay(10000)
    rate, step = decay.A_log.exp(), F.softplus(decay.dt_bias)
    assert 0 < rate.min() < 0.1
    assert 15.9 < rate.max() < 16
    assert rate.mean().item() == pytest.approx(8, abs=0.2)
    assert step.min().item() == pytest.approx(0.001, rel=0.01)
    assert step.max().item() == pytest.approx(0.1, rel=0.01)
    assert step.median().item() == pytest.approx(0.01, rel=0.1)


def test_it_learns():
    network, ids = Decoder(V, T, 24, 2, 4, attention=partial(GatedDeltaNet, chunk=8)), torch.randint(V, (1, T))
    optimizer, losses = torch.optim.AdamW(network.parameters(), lr=1e-2), []
    for _ in range(40):
        loss = F.cross_entropy(network.logits(network(ids[:, :-1])).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(torch.tensor(float(V)).log().item(), abs=0.15)
    assert losses[-1] < losses[0] / 2


def test_shards_name_its_parts():
    layer = GatedDeltaNet(D, H)
    named = {*dict(layer.named_modules()), *dict(layer.named_parameters())}
    assert layer.shards.keys() <= named
    covered = [name for name, _ in layer.named_parameters() if any(name.startswith(part) for part in layer.shards)]
    assert {name for name, _ in layer.named_parameters()} - {*covered} == {"norm.weight"}  # the same for all heads


def test_half_the_heads_are_a_layer():
    """As on one of two ranks: the first rows of what is cut by columns, the first columns of `out`."""
    whole, half = filled(GatedDeltaNet(D, 2, 4, K, L)), GatedDeltaNet(D, 1, 2, K, L)
    rest = GatedDeltaNet(D, 1, 2, K, L)
    for number, part in enumerate((half, rest)):
        for name, parameter in part.named_parameters():
            cut = next((how for where, how in part.shards.items() if name.startswith(where)), None)
            tensor = dict(whole.named_parameters())[name]
            chunks = {"columns": lambda x: x.chunk(2), "rows": lambda x: x.chunk(2, dim=1), None: lambda x: (x, x)}
            parameter.data.copy_(chunks[cut](tensor)[number])
    x = torch.randn(B, T, D)
    torch.testing.assert_close(half(x, At()) + rest(x, At()), whole(x, At()), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (partial(GatedDeltaNet, 12, 4, v_heads=6), "v_heads is 6 and heads is 4: choose 4, 8 or another multiple"),
        (partial(GatedDeltaNet, 12, 4, v_heads=2), "v_heads must be a multiple of heads"),
        (partial(GatedDeltaNet, 10, 4), "heads must divide dim, but heads is 4 and dim is 10"),
        (partial(GatedDeltaNet, 12, 4, v_head_dim=0), "v_head_dim is 0"),
        (partial(GatedDeltaNet, 12, 4, beta_max=2.5), "beta_max is 2.5"),
        (partial(GatedDeltaNet, 12, 4, conv_width=0), "conv_width is a number of tokens from 1 on, but it is 0"),
        (partial(GatedDeltaNet, 12, 4, chunk=0), "chunk is a number of tokens from 1 on, but it is 0"),
        (
            lambda: Encoder(V, T, 24, 1, 4, attention=GatedDeltaNet)(torch.zeros(1, T, dtype=torch.long)),
            "use it in a D",
        ),
    ],
)
def test_what_does_not_fit_is_said(make, needed):
    with pytest.raises(UserError, match=needed):
        make()


def test_beta_reaches_its_most():
    """Half of 2 is all of 1."""
    most, half = filled(GatedDeltaNet(D, H)), GatedDeltaNet(D, H, beta_max=2)
    x = torch.randn(B, T, D).index_fill(-1, torch.tensor(0), 1)
    most.b.weight.data.zero_()[:, 0] = 100
    half.load_state_dict(most.state_dict() | {"b.weight": torch.zeros(H, D)})
    torch.testing.assert_close(half(x, At()), most(x, At()), rtol=0, atol=1e-6)


def test_another_norm_may_be_chosen():
    layer = GatedDeltaNet(D, H, norm=partial(RMSNorm, eps=0.5))
    assert layer.norm.eps == 0.5
