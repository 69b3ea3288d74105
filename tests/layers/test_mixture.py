"""Mixtures of experts against one token and one expert at a time, against transformers, and what balances them."""

import copy
from functools import partial

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3Config, DeepseekV3MoE
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssConfig, GptOssMLP
from transformers.models.mixtral.modeling_mixtral import (
    MixtralConfig,
    MixtralSparseMoeBlock,
    load_balancing_loss_func,
)
from transformers.models.qwen2_moe.modeling_qwen2_moe import Qwen2MoeConfig, Qwen2MoeSparseMoeBlock
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeConfig, Qwen3MoeSparseMoeBlock

from lmkit.errors import UserError
from lmkit.layers import GELU, ClampedMixture, Gated, MixtureOfExperts, SigmoidRouter, SoftmaxRouter
from lmkit.layers.kinds import Router, Routing
from lmkit.layers.routers import GroupLimit
from lmkit.layers.weights import initialize
from lmkit.network import Decoder
from lmkit.optim import decay_by_rank
from lmkit.tasks import regulation

D, E, F, T = 12, 6, 5, 7
ROUTERS = {
    "softmax": SoftmaxRouter,
    "softmax, raw": partial(SoftmaxRouter, normalise=False, scale=16.0),
    "softmax, bias": partial(SoftmaxRouter, bias=True),
    "sigmoid": partial(SigmoidRouter, scale=2.5),
    "sigmoid, raw": partial(SigmoidRouter, normalise=False),
    "sigmoid, groups": partial(SigmoidRouter, groups=3, groups_active=2),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


class ToOne(Router):
    """Sends all tokens to the last expert and a second one."""

    def __init__(self, dim, experts, active):
        super().__init__()
        self.last = experts - 1

    def forward(self, x):
        choices = torch.tensor([self.last, 1], device=x.device).expand(*x.shape[:2], 2)
        return Routing(choices, torch.tensor([0.7, 0.3], dtype=x.dtype, device=x.device).expand(*x.shape[:2], 2))


def make(dtype=torch.float64, router=SoftmaxRouter, cls=MixtureOfExperts, **options):
    """A mixture with random values everywhere, a random bias included."""
    layer = cls(**({"dim": D, "experts": E, "hidden": F, "router": router} | options)).to(dtype)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    if isinstance(layer.router, SigmoidRouter):
        torch.nn.init.normal_(layer.router.bias, std=0.1)
    return layer


def choose(layer, token):
    """The experts of one token and their weights, by sorting in Python."""
    if isinstance(layer.router, ToOne):
        return [(layer.router.last, 0.7), (1, 0.3)]
    router, logits = layer.router, layer.router.project.weight @ token
    logits = logits if router.project.bias is None else logits + router.project.bias
    if isinstance(router, SoftmaxRouter):
        scores, ranks = logits.exp() / logits.exp().sum(), logits.tolist()
    else:
        scores = 1 / (1 + (-logits).exp())
        ranks = (scores + router.bias).tolist()
    allowed = range(len(ranks))
    if isinstance(getattr(router, "limit", None), GroupLimit):
        size = len(ranks) // router.limit.groups
        groups = [range(first, first + size) for first in range(0, len(ranks), size)]
        groups.sort(key=lambda group: -sum(sorted((ranks[e] for e in group), reverse=True)[:2]))
        allowed = [e for group in groups[: router.limit.groups_active] for e in group]
    chosen = sorted(allowed, key=lambda e: -ranks[e])[: router.active]
    total = sum(scores[e] for e in chosen) if router.normalise else 1.0
    return [(e, router.scale * scores[e] / total) for e in chosen]


def product(part, expert, vector):
    """By the matrix of one expert, plus its bias if it has one."""
    y = part.weight[expert] @ vector
    return y if part.bias is None else y + part.bias.view(E, -1)[expert]


def middle(layer, gate, up):
    """A number at a time."""
    if not isinstance(layer, ClampedMixture):
        return layer.activation(gate) * up
    gate = [g if g < layer.limit else g.new_tensor(layer.limit) for g in gate]
    up = [torch.stack([u, u.new_tensor(layer.limit)]).min() for u in up]
    up = [torch.stack([u, u.new_tensor(-layer.limit)]).max() for u in up]
    return torch.stack([g / (1 + (-1.702 * g).exp()) * (u + 1) for g, u in zip(gate, up, strict=True)])


def slow(layer, x):
    """One token, one expert at a time."""
    y = []
    for token in x.flatten(0, 1):
        found = torch.zeros_like(token)
        for e, weight in choose(layer, token):
            gate, up = product(layer.gate, e, token), product(layer.up, e, token)
            found = found + weight * product(layer.out, e, middle(layer, gate, up))
        y.append(found)
    return layer.shared(torch.stack(y).view_as(x), x)


def compare(layer, x):
    """Outputs and all gradients against the slow ones."""
    y, expected = layer(x), slow(layer, x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
    inputs = [x, *layer.parameters()]
    direction = torch.randn_like(y)
    got = torch.autograd.grad(y, inputs, direction)
    for ours, theirs in zip(got, torch.autograd.grad(expected, inputs, direction), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("active", [1, 2, 3])
@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
def test_a_token_is_the_weighted_sum_of_its_experts(router, active):
    compare(make(router=router, active=active), torch.randn(2, T, D, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize("gated", [True, False])
def test_shared_experts_are_added(gated):
    layer, x = make(shared=2, shared_gated=gated, activation=GELU), torch.randn(2, T, D, dtype=torch.float64)
    compare(layer, x.requires_grad_())
    shared = layer.shared.expert(x)
    if gated:
        shared = shared / (1 + (-x @ layer.shared.gate.project.weight.T).exp())
    assert layer.shared.expert.up.weight.shape == (2 * F, D)
    torch.testing.assert_close(layer.shared(torch.zeros_like(x), x), shared)


@pytest.mark.parametrize("router", ["softmax, bias", "sigmoid"])
def test_experts_may_have_biases(router):
    x = torch.randn(2, T, D, dtype=torch.float64, requires_grad=True)
    compare(make(router=ROUTERS[router], bias=True, shared=1), x)
    compare(make(router=ToOne, bias=True), x)  # and those whom no token asks


@pytest.mark.parametrize("bias", [True, False])
def test_gates_and_ups_are_clamped(bias):
    layer = make(cls=ClampedMixture, router=ROUTERS["softmax, bias"], bias=bias, limit=0.8, active=3)
    x = torch.randn(2, T, D, dtype=torch.float64, requires_grad=True)
    every = torch.arange(1, E + 1, dtype=torch.int32) * 2 * T
    rows = x.flatten(0, 1).repeat(E, 1)
    for part in (layer.gate(rows, every), layer.up(rows, every)):
        assert part.max() > 0.8 > part.abs().min()
        assert part.min() < -0.8
    compare(layer, x)


def test_biases_are_vectors_which_do_not_decay_and_are_added_in_float32():
    layer = make(torch.float32, bias=True)
    assert [name for name, p in layer.named_parameters() if p.ndim == 1] == ["gate.bias", "up.bias", "out.bias"]
    decays, stays = decay_by_rank(layer)
    assert (len(decays["params"]), len(stays["params"])) == (4, 3)
    rows, ends = torch.zeros(40000, D, dtype=torch.bfloat16), torch.tensor([30000, 30000, 40000, 40000, 40000, 40000])
    layer.bfloat16().up(rows, ends.int()).sum().backward()
    assert layer.up.bias.grad.view(E, F)[:, 0].tolist() == [
        float(torch.tensor(n).bfloat16()) for n in (3e4, 0, 1e4, 0, 0, 0)
    ]


@pytest.mark.parametrize("router", ["softmax", "sigmoid, groups"])
def test_gradients_are_those_of_small_differences(router):
    layer = make(router=ROUTERS[router], dim=4, hidden=2)
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True), *values))


def test_no_token_is_dropped_where_all_choose_the_same():
    layer, x = make(router=ToOne), torch.randn(2, T, D, dtype=torch.float64)
    torch.testing.assert_close(layer(x), slow(layer, x), rtol=0, atol=1e-10)
    layer(x).sum().backward()
    assert layer.figures["moe_busiest"] == E / 2
    assert layer.figures["moe_idle"] == pytest.approx((E - 2) / E)
    for e in range(E):
        assert bool(layer.up.weight.grad[e].any()) == (e in {1, E - 1})


def fill(block):
    for tensor in [*block.parameters(), *block.buffers()]:
        torch.nn.init.normal_(tensor, std=0.3)
    return block.double().eval()


def copy_experts(layer, block):
    """Takes the routed experts of transformers, whose gate and up are one tensor, and the router."""
    gate, up = block.experts.gate_up_proj.chunk(2, dim=1)
    for ours, theirs in ((layer.gate, gate), (layer.up, up), (layer.out, block.experts.down_proj)):
        ours.weight.data.copy_(theirs)
    layer.router.project.weight.data.copy_(block.gate.weight)


def copy_shared(layer, expert):
    for name in ("gate", "up"):
        getattr(layer.shared.expert, name).weight.data.copy_(getattr(expert, f"{name}_proj").weight)
    layer.shared.expert.out.weight.data.copy_(expert.down_proj.weight)


def mixtral():
    config = MixtralConfig(hidden_size=D, intermediate_size=F, num_local_experts=E, num_experts_per_tok=3)
    block, layer = fill(MixtralSparseMoeBlock(config)), make(active=3)
    copy_experts(layer, block)
    return layer, block


def qwen3(normalise):
    config = Qwen3MoeConfig(
        hidden_size=D, moe_intermediate_size=F, num_experts=E, num_experts_per_tok=3, norm_topk_prob=normalise
    )
    block = fill(Qwen3MoeSparseMoeBlock(config))
    layer = make(active=3, router=partial(SoftmaxRouter, normalise=normalise))
    copy_experts(layer, block)
    return layer, block


def qwen2():
    config = Qwen2MoeConfig(
        hidden_size=D,
        moe_intermediate_size=F,
        shared_expert_intermediate_size=2 * F,
        num_experts=E,
        num_experts_per_tok=3,
    )
    block = fill(Qwen2MoeSparseMoeBlock(config))
    layer = make(active=3, router=partial(SoftmaxRouter, normalise=False), shared=2, shared_gated=True)
    copy_experts(layer, block)
    copy_shared(layer, block.shared_expert)
    layer.shared.gate.project.weight.data.copy_(block.shared_expert_gate.weight)
    return layer, block


def deepseek(normalise, groups):
    config = DeepseekV3Config(
        hidden_size=D,
        moe_intermediate_size=F,
        n_routed_experts=E,
        num_experts_per_tok=3,
        n_shared_experts=2,
        n_group=groups,
        topk_group=2 if groups > 1 else 1,
        norm_topk_prob=normalise,
        routed_scaling_factor=2.5,
    )
    config.num_local_experts = E
    block = fill(DeepseekV3MoE(config))
    router = partial(SigmoidRouter, normalise=normalise, scale=2.5, groups=groups, groups_active=config.topk_group)
    layer = make(active=3, shared=2, router=router)
    block.gate.e_score_correction_bias.uniform_(0, 0.5)  # above 0, below which transformers chooses experts shut out
    copy_experts(layer, block)
    copy_shared(layer, block.shared_experts)
    layer.router.bias.copy_(block.gate.e_score_correction_bias)
    return layer, block


def gpt_oss(limit):
    config = GptOssConfig(hidden_size=D, intermediate_size=F, num_local_experts=E, num_experts_per_tok=3)
    block = fill(GptOssMLP(config))
    block.experts.limit = limit
    layer = make(active=3, cls=ClampedMixture, router=partial(SoftmaxRouter, bias=True), limit=limit)
    fused = block.experts
    for ours, weight, bias in (
        (layer.gate, fused.gate_up_proj[..., ::2], fused.gate_up_proj_bias[..., ::2]),
        (layer.up, fused.gate_up_proj[..., 1::2], fused.gate_up_proj_bias[..., 1::2]),
        (layer.out, fused.down_proj, fused.down_proj_bias),
    ):
        ours.weight.data.copy_(weight.mT)
        ours.bias.data.copy_(bias.flatten())
    layer.router.project.weight.data.copy_(block.router.weight)
    layer.router.project.bias.data.copy_(block.router.bias)
    return layer, block


def test_a_softmax_over_the_chosen_is_that_over_all_brought_to_a_sum_of_1():
    """As gpt-oss's router takes it."""
    layer, block = gpt_oss(7.0)
    x = torch.randn(3, 20, D, dtype=torch.float64)
    _, weights, experts = block.router(x.flatten(0, 1))
    found = layer.router(x)
    assert torch.equal(found.experts.flatten(0, 1), experts)
    torch.testing.assert_close(found.weights.flatten(0, 1), weights, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "pair",
    [
        mixtral,
        partial(qwen3, True),
        partial(qwen3, False),
        qwen2,
        partial(deepseek, True, 1),
        partial(deepseek, False, 3),
        partial(gpt_oss, 7.0),
        partial(gpt_oss, 0.5),
    ],
    ids=["mixtral", "qwen3", "qwen3 raw", "qwen2", "deepseek", "deepseek groups", "gpt-oss", "gpt-oss clamped"],
)
def test_it_equals_transformers(pair, dtype):
    layer, block = (module.to(dtype) for module in pair())
    x = torch.randn(3, 20, D, dtype=dtype)
    expected = block(x)
    expected = expected[0] if isinstance(expected, tuple) else expected  # beside gpt-oss's weights
    # whose routers compute in float32 even where the rest is float64
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=4e-6)


def test_the_balance_loss_equals_transformers():
    layer, x = make(torch.float32, active=3), torch.randn(3, 20, D)
    layer.router.balance_weight = 0.7
    layer(x)
    logits = layer.router.project(x).flatten(0, 1)
    expected = 0.7 * load_balancing_loss_func((logits,), E, 3)
    torch.testing.assert_close(layer.router.side_losses["moe_balance"], expected)
    logits = logits.tolist()
    squares = [torch.tensor(row).exp().sum().log().item() ** 2 for row in logits]
    assert layer.router.side_losses["moe_z"].item() == pytest.approx(0.001 * sum(squares) / len(squares), rel=1e-5)


def test_the_loss_within_rows_is_the_papers():
    layer, x = make(router=partial(SigmoidRouter, balance_weight=0.7)), torch.randn(3, T, D, dtype=torch.float64)
    layer(x)
    rows = []
    for row in x:  # DeepSeek-V3, eq. 17 to 20
        scores = torch.stack([(layer.router.project.weight @ token).sigmoid() for token in row])
        chosen = [e for token in row for e, _ in choose(layer, token)]
        shares = [E / (2 * T) * chosen.count(e) for e in range(E)]
        means = [sum(s[e] / s.sum() for s in scores) / T for e in range(E)]
        rows.append(0.7 * sum(f * p for f, p in zip(shares, means, strict=True)))
    torch.testing.assert_close(layer.router.side_losses["moe_balance"], sum(rows) / 3)


def test_losses_are_least_where_loads_are_even():
    for router, weight in ((SoftmaxRouter, 2.0), (SigmoidRouter, 1.0)):  # summed over k choices, or their mean
        even = make(router=partial(router, balance_weight=1.0), experts=2)
        even(torch.randn(1, T, D, dtype=torch.float64))
        torch.testing.assert_close(even.router.side_losses["moe_balance"].item(), weight)
        skewed = make(router=partial(router, balance_weight=1.0))
        x = torch.randn(D, dtype=torch.float64).expand(1, T, D)
        skewed(x)
        assert skewed.router.side_losses["moe_balance"] > 1.5 * weight


def skewed_rows():
    """Tokens that are alike, so that their scores are too."""
    return torch.randn(D) + 0.7 * torch.randn(4, 64, D)


def test_the_bias_evens_a_skewed_load():
    layer, x = make(torch.float32, partial(SigmoidRouter, rate=0.01)), skewed_rows()
    torch.nn.init.zeros_(layer.router.bias)
    layer(x)
    before = layer.figures["moe_busiest"].item()
    weights = layer.router(x).weights.sum(-1)
    for _ in range(200):
        layer(x)
        layer.router.after_step(lambda loads: loads)
    assert before > 2
    assert layer.figures["moe_busiest"] < 1.15
    assert layer.figures["moe_idle"] == 0
    torch.testing.assert_close(layer.router(x).weights.sum(-1), weights)  # which the bias does not enter


def test_the_balance_loss_evens_a_skewed_load():
    layer, x = make(torch.float32), skewed_rows()
    optimizer = torch.optim.SGD(layer.router.parameters(), lr=1.0)
    layer(x)
    before = layer.figures["moe_busiest"].item()
    for _ in range(100):
        layer(x)
        optimizer.zero_grad()
        (100 * layer.router.side_losses["moe_balance"]).backward()
        optimizer.step()
    assert before > 1.5
    assert layer.figures["moe_busiest"] < 0.75 * before


def test_halves_of_a_batch_and_ranks_move_the_bias_as_the_whole():
    whole, x = make(torch.float32, SigmoidRouter), skewed_rows()
    halves, ranks = copy.deepcopy(whole), copy.deepcopy(whole)
    before = whole.router.bias.clone()
    whole(x)
    whole.router.after_step(lambda loads: loads)
    for half in x.chunk(2):
        halves(half)
    halves.router.after_step(lambda loads: loads)
    assert not torch.equal(whole.router.bias, before)
    assert torch.equal(halves.router.bias, whole.router.bias)

    ranks(x[:2])
    other = copy.deepcopy(whole)
    torch.nn.init.zeros_(other.router.loads)
    other.router.bias.copy_(before)
    other(x[2:])
    ranks.router.after_step(lambda loads: loads + other.router.loads)
    assert torch.equal(ranks.router.bias, whole.router.bias)

    halves.router.after_step(lambda loads: loads)  # nothing was counted since
    halves.eval()(x)
    halves.router.after_step(lambda loads: loads)
    assert torch.equal(halves.router.bias, whole.router.bias)


def test_recomputed_activations_change_nothing():
    plain, x = make(router=SigmoidRouter), torch.randn(2, T, D, dtype=torch.float64)
    again = copy.deepcopy(plain)
    for layer, run in ((plain, plain), (again, lambda x: checkpoint(again, x, use_reentrant=False))):
        loss = run(x).square().sum()
        (loss + 100 * regulation.side_loss(layer)).backward()
        regulation.after_step(layer, lambda loads: loads)
    for ours, theirs in zip(again.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert torch.equal(again.router.bias, plain.router.bias)
    assert regulation.figures(again) == regulation.figures(plain)


@pytest.mark.parametrize("router", [SoftmaxRouter, partial(SigmoidRouter, groups=2, groups_active=1)])
@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_the_cost_is_that_of_the_active_experts(router, shared, bias):
    def flops(experts, active, device):
        with torch.device(device):
            layer = MixtureOfExperts(D, experts, active, F, router, shared, bias=bias)
            x = torch.randn(2, T, D, requires_grad=True)
            with FlopCounterMode(display=False) as counter:
                layer(x).sum().backward()
        return counter.get_total_flops()

    tokens = 2 * T
    for experts, active in ((4, 1), (4, 2), (64, 1), (64, 2)):
        products = D * experts + 3 * D * F * (active + shared)  # of the router, and of the experts of one token
        assert flops(experts, active, "meta") == flops(experts, active, "cpu") == 3 * tokens * 2 * products


def test_by_default_a_token_costs_what_it_costs_with_gated():
    gated = sum(p.numel() for p in Gated(384).parameters())
    for active, shared in ((1, 0), (2, 0), (7, 1)):
        layer = MixtureOfExperts(384, 8, active, shared=shared)
        per_expert = sum(part.weight[0].numel() for part in (layer.gate, layer.up, layer.out))
        of_token = per_expert * (active + shared)
        assert gated <= of_token < 1.3 * gated


@pytest.mark.parametrize("router", [SoftmaxRouter, partial(SigmoidRouter, groups=2)])
@pytest.mark.parametrize("bias", [False, True])
def test_one_graph_holds_it_in_training(router, bias):
    layer, x = make(torch.float32, router, shared=1, shared_gated=True, bias=bias), torch.randn(2, T, D)
    compiled = copy.deepcopy(layer)
    run = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        for module, forward in ((layer, layer), (compiled, run)):
            (forward(x).square().sum() + 100 * regulation.side_loss(module)).backward()
    for ours, theirs in zip(compiled.parameters(), layer.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(regulation.figures(compiled), regulation.figures(layer))
    if isinstance(layer.router, SigmoidRouter):
        assert torch.equal(compiled.router.loads, layer.router.loads)
        assert layer.router.loads.sum() == 2 * x[..., 0].numel() * 2


@pytest.mark.parametrize("router", [SoftmaxRouter, SigmoidRouter])
@pytest.mark.parametrize("way", ["autocast", "whole"])
def test_bfloat16_keeps_the_routing_and_is_near(router, way):
    layer = make(torch.float32, router, shared=1).to(torch.bfloat16).float()  # values that both dtypes have
    x = torch.randn(2, T, D).to(torch.bfloat16).float()
    expected, routing = layer(x), layer.router(x)
    if way == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            y, found = layer(x), layer.router(x)
    else:
        layer.to(torch.bfloat16)
        y, found = layer(x.to(torch.bfloat16)), layer.router(x.to(torch.bfloat16))
    assert torch.equal(found.experts, routing.experts)
    assert found.weights.dtype == torch.float32
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.02, atol=0.02 * expected.abs().max().item())
    (y.float().square().mean() + regulation.side_loss(layer)).backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == p.dtype for p in layer.parameters())


def test_the_bias_goes_back_to_float32_with_all_else():
    layer = make(torch.float32, SigmoidRouter).double()
    assert layer.router.bias.dtype == torch.float64
    assert layer.float().router.bias.dtype == layer.to(torch.bfloat16).router.bias.dtype == torch.float32


def test_small_steps_of_the_bias_are_kept_in_bfloat16():
    layer = make(torch.float32, SigmoidRouter).to(torch.bfloat16)
    layer.router.bias.fill_(0.5)
    layer.router.loads.copy_(torch.tensor([6, 0, 3, 3, 3, 3]))
    layer.router.after_step(lambda loads: loads)
    expected = torch.tensor([0.499, 0.501, 0.5, 0.5, 0.5, 0.5])
    torch.testing.assert_close(layer.router.bias, expected, rtol=0, atol=1e-7)
    assert layer.router.project.weight.dtype == torch.bfloat16
    assert layer.to(torch.float64).router.bias.dtype == torch.float64


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("router", [SoftmaxRouter, SigmoidRouter, ToOne])  # the last leaves experts idle
def test_it_is_the_same_on_cuda(router, dtype):
    layer = make(torch.float32, router, dim=16, hidden=32, bias=True).to(dtype)
    there, x = copy.deepcopy(layer).cuda(), torch.randn(2, 50, 16).to(dtype)
    for _ in range(2):  # the second in memory that is no longer clean
        layer.zero_grad()
        there.zero_grad()
        expected, y = layer(x), there(x.cuda())
        expected.square().sum().backward()
        y.square().sum().backward()
        tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.03}[dtype]
        for ours, theirs in (
            (y, expected),
            *((a.grad, b.grad) for a, b in zip(there.parameters(), layer.parameters(), strict=True)),
        ):
            bound = tolerance * theirs.abs().max().item()
            torch.testing.assert_close(ours.cpu(), theirs, rtol=tolerance, atol=bound)


def test_it_is_deterministic():
    layer, x = make(torch.float32, active=3), torch.randn(4, 50, D)
    runs = []
    for _ in range(2):
        layer.zero_grad()
        y = layer(x)
        y.square().sum().backward()
        runs.append([y, *(p.grad.clone() for p in layer.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("router", [SoftmaxRouter, SigmoidRouter])
def test_its_state_makes_the_same_layer(router):
    layer, x = make(torch.float32, router, shared=1, shared_gated=True), torch.randn(2, T, D)
    other = make(torch.float32, router, shared=1, shared_gated=True)
    assert not torch.allclose(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))  # the losses of a forward are in the way of no copy


def test_what_is_filled_late_is_what_is_filled_at_once():
    torch.manual_seed(1)
    layer = MixtureOfExperts(D, E, router=SigmoidRouter, shared=1, shared_gated=True)
    with torch.device("meta"):
        late = MixtureOfExperts(D, E, router=SigmoidRouter, shared=1, shared_gated=True)
    torch.manual_seed(1)
    initialize(late, torch.device("cpu"))
    assert layer.state_dict().keys() == late.state_dict().keys()
    assert all(value.shape == late.state_dict()[name].shape for name, value in layer.state_dict().items())
    assert torch.equal(late.router.bias, torch.zeros(E))
    assert late.up.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_in_a_network_all_projections_to_the_stream_start_smaller_and_all_layers_report():
    network = Decoder(
        50, 16, 48, 2, 4, feed_forward=partial(MixtureOfExperts, experts=4, shared=1, router=SigmoidRouter)
    )
    for block in network.blocks:
        layer = block.feed_forward
        assert layer.out.std == layer.shared.expert.out.std == pytest.approx(0.01)
        for part in (layer.out, layer.shared.expert.out):
            assert part.weight.std().item() == pytest.approx(0.01, rel=0.05)
        assert layer.up.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert regulation.side_loss(network.eval()) == 0
    network.train()(torch.randint(50, (2, 16)))
    assert set(regulation.figures(network)) == {"moe_balance", "moe_busiest", "moe_idle"}
    total = sum(block.feed_forward.router.side_losses["moe_balance"] for block in network.blocks)
    torch.testing.assert_close(regulation.side_loss(network), total)


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: MixtureOfExperts(D, 4, 5), "active is 5 and experts is 4: choose active"),
        (lambda: MixtureOfExperts(D, 4, 0), "active is 0"),
        (lambda: ClampedMixture(D, limit=0), "limit is 0: give the most that a gate may be"),
        (lambda: MixtureOfExperts(D, hidden=0), "hidden is 0: give the width of one expert"),
        (lambda: MixtureOfExperts(D, shared=-1), "shared is -1"),
        (lambda: MixtureOfExperts(D, shared_gated=True), "set shared to 1 or more"),
        (lambda: SigmoidRouter(D, 6, 2, groups=4), "choose groups out of 1, 2, 3, 6"),
        (lambda: SigmoidRouter(D, 6, 3, groups=3, groups_active=1), "choose groups_active from 2 to 3"),
        (lambda: SigmoidRouter(D, 6, 3, groups=3, groups_active=4), "choose groups_active from 2 to 3"),
    ],
)
def test_what_does_not_fit_is_said(make, needed):
    with pytest.raises(UserError, match=needed):
        make()


def test_no_token_is_nothing():
    layer = make().train()
    x = torch.randn(1, 0, D, dtype=torch.float64)
    assert layer(x).shape == x.shape
    assert all(value.isfinite() for value in layer.figures.values())
