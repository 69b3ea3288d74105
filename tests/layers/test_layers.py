"""Every layer against its reference in float64."""

import math
from functools import partial

import pytest
import torch
from transformers.activations import ACT2FN
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.nanochat.modeling_nanochat import NanoChatRMSNorm
from transformers.models.olmo.modeling_olmo import OlmoLayerNorm

from lmkit.errors import UserError
from lmkit.layers import (
    GELU,
    MLP,
    ALiBi,
    At,
    Gated,
    L2Norm,
    LayerNorm,
    Learned,
    NoNorm,
    NoPosition,
    QuickGELU,
    ReLU,
    ReLUSquared,
    RMSNorm,
    Rotary,
    SelfAttention,
    SiLU,
    Sinusoidal,
    ZeroCentredRMSNorm,
)
from lmkit.layers.heads import rotate
from tests.layers import references

D, H, T, K = 12, 6, 7, 2


pytestmark = pytest.mark.usefixtures("double")


def filled(module):
    """Random values everywhere: fresh scales of one and offsets of zero would hide an error."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("weight", [True, False])
def test_layer_norm(bias, weight):
    norm = filled(LayerNorm(D, eps=0.1, bias=bias, weight=weight))
    x = torch.randn(2, T, D)
    scale = norm.weight if weight else torch.ones(D)
    torch.testing.assert_close(norm(x), references.layer_norm(x, scale, norm.bias, 0.1))
    assert [name for name, _ in norm.named_parameters()] == ["weight"] * weight + ["bias"] * bias


@pytest.mark.parametrize("weight", [True, False])
def test_rms_norm(weight):
    norm = filled(RMSNorm(D, eps=0.1, weight=weight))
    x = torch.randn(2, T, D)
    torch.testing.assert_close(norm(x), references.rms_norm(x, norm.weight if weight else torch.ones(D), 0.1))
    assert [name for name, _ in norm.named_parameters()] == ["weight"] * weight


def test_zero_centred_rms_norm():
    """Small weights count in bfloat16 too, where 1 + 0.001 is 1."""
    norm, x = filled(ZeroCentredRMSNorm(D, eps=0.1)), torch.randn(2, T, D, requires_grad=True)
    torch.testing.assert_close(norm(x), references.rms_norm(x, 1 + norm.weight, 0.1))
    assert torch.autograd.gradcheck(norm, (x,))
    torch.nn.init.constant_(norm.bfloat16().weight, 1e-3)
    x = torch.full((4096, D), 1.5).mul(torch.rand(4096, 1) + 1).bfloat16()
    theirs = Gemma2RMSNorm(D, eps=0.1).bfloat16()
    torch.nn.init.constant_(theirs.weight, 1e-3)
    assert torch.equal(norm(x), theirs(x))
    assert not torch.equal(norm(x), RMSNorm(D, eps=0.1)(x))


def test_l2_norm():
    norm, x = filled(L2Norm(D)), torch.randn(2, T, D, requires_grad=True)
    expected = [[references.l2_norm(row, norm.scale.item()) for row in rows] for rows in x.tolist()]
    torch.testing.assert_close(norm(x), torch.tensor(expected))
    assert torch.autograd.gradcheck(norm, (x,))
    assert torch.autograd.gradcheck(lambda scale: torch.func.functional_call(norm, {"scale": scale}, x), (norm.scale,))


def test_l2_norm_of_nothing_is_nothing_and_has_a_gradient():
    x = torch.zeros(1, D, requires_grad=True)
    y = L2Norm(D)(x)
    y.sum().backward()
    assert not y.any()
    assert x.grad.isfinite().all()


def test_l2_norm_starts_as_rms_norm_or_where_it_is_told():
    x = torch.randn(2, T, D)
    torch.testing.assert_close(L2Norm(D)(x), RMSNorm(D, eps=0.0)(x))
    torch.testing.assert_close(L2Norm(D, start=3.0)(x).norm(dim=-1), torch.full((2, T), 3.0))


def test_query_key_norm_bounds_the_scores():
    layer = SelfAttention(D, 2, qk_norm=partial(L2Norm, start=4.0), scale=1.0)
    layer.k.weight = layer.q.weight  # so that a query and its own key are alike, and their score is the greatest
    q, k = layer.q_norm(layer.q(torch.randn(9, D))), layer.k_norm(layer.k(torch.randn(9, D)))
    assert (q @ k.T).abs().max() <= 16 + 1e-9
    torch.testing.assert_close((q * q).sum(-1), torch.full((9,), 16.0))


def test_a_norm_that_widens_leaves_queries_keys_and_values_alike(monkeypatch):
    """As autocast does on CUDA, where kernels for documents want one dtype and a cache holds half of it."""

    class Wide(RMSNorm):
        def forward(self, x):
            return super().forward(x.float())

    kinds = []
    monkeypatch.setattr(
        "lmkit.layers.attentions.attend", lambda q, k, v, *_: kinds.append((q.dtype, k.dtype, v.dtype)) or q
    )
    layer = SelfAttention(24, 4, qk_norm=Wide).bfloat16()
    layer(torch.randn(1, 5, 24, dtype=torch.bfloat16), At())
    assert set(kinds[0]) == {torch.bfloat16}


def test_no_norm():
    x = torch.randn(2, T, D)
    assert NoNorm(D)(x) is x
    assert not list(NoNorm(D).parameters())


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (RMSNorm(D, eps=0.1), LlamaRMSNorm(D, eps=0.1)),
        (RMSNorm(D, eps=0.1, weight=False), NanoChatRMSNorm(eps=0.1)),
        (LayerNorm(D, weight=False, bias=False), OlmoLayerNorm(D)),
        (ZeroCentredRMSNorm(D, eps=0.1), Gemma2RMSNorm(D, eps=0.1)),
    ],
)
def test_norms_are_those_of_transformers(ours, theirs):
    filled(ours)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, T, D)
    torch.testing.assert_close(ours.double()(x), theirs.double()(x), rtol=0, atol=1e-5)  # theirs reckon in float32


@pytest.mark.parametrize("make", [RMSNorm, partial(RMSNorm, weight=False), ZeroCentredRMSNorm, L2Norm, NoNorm])
@pytest.mark.parametrize("autocast", [True, False])
def test_norms_keep_the_dtype(make, autocast):
    x = torch.randn(2, T, D, dtype=torch.bfloat16)
    norm = make(D) if autocast else make(D).bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        assert norm(x).dtype == torch.bfloat16
    torch.testing.assert_close(norm(x).double(), make(D)(x.double()), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("activation", "reference"),
    [
        (GELU(), lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2),
        (GELU("tanh"), lambda x: x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
        (QuickGELU(), lambda x: x / (1 + torch.exp(-1.702 * x))),
        (QuickGELU(0.3), lambda x: x / (1 + torch.exp(-0.3 * x))),
        (SiLU(), lambda x: x / (1 + torch.exp(-x))),
        (ReLU(), lambda x: torch.where(x > 0, x, 0.0)),
        (ReLUSquared(), lambda x: torch.where(x > 0, x * x, 0.0)),
    ],
)
def test_activations(activation, reference):
    x = 3 * torch.randn(100)
    torch.testing.assert_close(activation(x), reference(x))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (GELU(), "gelu"),
        (GELU("tanh"), "gelu_new"),
        (QuickGELU(), "quick_gelu"),
        (SiLU(), "silu"),
        (ReLU(), "relu"),
        (ReLUSquared(), "relu2"),
    ],
)
def test_activations_are_those_of_transformers(ours, theirs):
    x = (3 * torch.randn(100)).requires_grad_()
    torch.testing.assert_close(ours(x), ACT2FN[theirs](x))
    other = torch.autograd.grad(ACT2FN[theirs](x).sum(), x)
    torch.testing.assert_close(torch.autograd.grad(ours(x).sum(), x), other)


@pytest.mark.parametrize("bias", [True, False])
def test_mlp(bias):
    mlp = filled(MLP(D, hidden=5, activation=ReLUSquared, bias=bias))
    x = torch.randn(2, T, D)
    up = x @ mlp.up.weight.T + (mlp.up.bias if bias else 0)
    torch.testing.assert_close(mlp(x), up.clamp(min=0) ** 2 @ mlp.out.weight.T + (mlp.out.bias if bias else 0))


@pytest.mark.parametrize("activation", [SiLU, GELU, ReLU])
def test_gated(activation):
    gated = filled(Gated(D, hidden=5, activation=activation))
    x = torch.randn(2, T, D)
    middle = activation()(x @ gated.gate.weight.T) * (x @ gated.up.weight.T)
    torch.testing.assert_close(gated(x), middle @ gated.out.weight.T)


def test_default_widths():
    assert MLP(96).up.weight.shape == (384, 96)
    assert Gated(96).up.weight.shape == (256, 96)
    assert Gated(384).up.weight.shape == (1024, 384)


def test_learned():
    position = filled(Learned(D, H, T))
    x, positions = torch.randn(2, T, D), torch.randint(T, (2, T))
    y, at = position(x, positions)
    torch.testing.assert_close(y[1, 3], x[1, 3] + position.table.weight[positions[1, 3]])
    assert at == At()


def test_sinusoidal():
    x, positions = torch.randn(1, T, D), torch.arange(5, 5 + T)[None]
    y, _ = Sinusoidal(D, H, T, base=100.0, scale=1.0)(x, positions)
    for t in range(T):
        for i in range(D // 2):
            angle = (5 + t) * 100.0 ** (-2 * i / D)
            assert y[0, t, 2 * i].item() == pytest.approx(x[0, t, 2 * i].item() + math.sin(angle), abs=1e-6)
            assert y[0, t, 2 * i + 1].item() == pytest.approx(x[0, t, 2 * i + 1].item() + math.cos(angle), abs=1e-6)


def test_rotary():
    x, positions = torch.randn(2, T, 24), torch.stack([torch.arange(T), torch.arange(T) + 3])
    y, at = Rotary(24, 4, T, base=50.0)(x, positions)
    assert y is x
    q = torch.randn(2, 4, T, 6)
    rotated = rotate(q, *at.rotation)
    for b in range(2):
        for t in range(T):
            expected = references.rotate_one(q[b, 1, t].tolist(), int(positions[b, t]), 50.0)
            torch.testing.assert_close(rotated[b, 1, t], torch.tensor(expected), atol=1e-6, rtol=0)


def test_rotary_scores_depend_on_distance_only():
    position = Rotary(24, 4, 100)
    q, k = torch.randn(1, 4, 1, 6), torch.randn(1, 4, 1, 6)

    def score(at_q, at_k):
        rotations = [position(torch.randn(1, 1, 24), torch.tensor([[p]]))[1].rotation for p in (at_q, at_k)]
        return (rotate(q, *rotations[0]) * rotate(k, *rotations[1])).sum(-1)

    torch.testing.assert_close(score(9, 4), score(45, 40), atol=1e-5, rtol=0)
    assert not torch.allclose(score(9, 4), score(9, 5), atol=1e-3)


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (4, [2**-2, 2**-4, 2**-6, 2**-8]),
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
        (1, [2**-8]),
    ],
)
def test_alibi_slopes_are_the_papers(heads, slopes):
    assert ALiBi(D, heads, T).slopes == pytest.approx(slopes)


def test_no_position():
    x = torch.randn(1, T, D)
    y, at = NoPosition(D, H, T)(x, torch.arange(T)[None])
    assert y is x
    assert at == At()


@pytest.mark.parametrize("kv_heads", [None, 3, 1])
@pytest.mark.parametrize("window", [None, 1, 3, T])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("position", [NoPosition, Rotary, ALiBi])
def test_self_attention(kv_heads, window, documents, position):
    dim, heads = 24, 6
    layer = filled(SelfAttention(dim, heads, kv_heads, window=window, qk_norm=partial(RMSNorm, eps=0.1), bias=True))
    x = torch.randn(2, T, dim)
    made = position(dim, heads, T)
    _, at = made(x, torch.arange(T)[None])
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 2, 2]]) if documents else None
    at = At(at.rotation, at.bias, ids)

    def project(linear, norm=None):
        y = (x @ linear.weight.T + linear.bias).view(2, T, -1, dim // heads).transpose(1, 2)
        y = references.rms_norm(y, norm.weight, 0.1) if norm else y
        return rotate(y, *at.rotation) if norm and at.rotation else y

    q, k, v = project(layer.q, layer.q_norm), project(layer.k, layer.k_norm), project(layer.v)
    slopes = made.slopes if position is ALiBi else None
    y = references.attention(q, k, v, window, ids, slopes).transpose(1, 2).reshape(2, T, dim)
    torch.testing.assert_close(layer(x, at), y @ layer.out.weight.T + layer.out.bias)


@pytest.mark.parametrize("over", ["head", "own", "heads"])
@pytest.mark.parametrize("kv_heads", [None, 3])
def test_queries_and_keys_are_normed_together_as_told(over, kv_heads):
    """One number of a head after the other, by the weights of the norm that it belongs to."""
    layer = filled(
        SelfAttention(24, H, kv_heads, qk_norm=partial(RMSNorm, eps=0.1), qk_norm_over=over, head_dim=K, scale=0.3)
    )
    x = torch.randn(2, T, 24)

    def project(linear, norm=None):
        rows = (x @ linear.weight.T).unflatten(-1, (-1, K))  # (B, T, H, K)
        if norm is not None:
            normed = rows.square().mean((-2, -1) if over == "heads" else -1, keepdim=True)
            weight = torch.cat(list(norm.parameters())).view(-1, K)  # for all heads, or for each
            rows = rows / (normed + 0.1).sqrt() * weight
        return rows.transpose(1, 2)

    assert next(name for name, _ in layer.q_norm.named_parameters()) == ("0.weight" if over == "own" else "weight")
    q, k, v = project(layer.q, layer.q_norm), project(layer.k, layer.k_norm), project(layer.v)
    y = references.attention(q * 0.3 * K**0.5, k, v, None, None, None).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x, At()), y @ layer.out.weight.T)
    assert (layer.shards is None) == (over != "head")
    assert SelfAttention.shards["q"] == "columns"


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: SelfAttention(12, 6, qk_norm_over="row"), "qk_norm_over is row: choose head, own, heads"),
        (lambda: SelfAttention(12, 6, qk_norm_over="heads"), "is heads, but there is no qk_norm: give one"),
        (lambda: SelfAttention(10, 3), "heads is 3 and dim is 10: choose heads out of 1, 2, 5, 10"),
        (lambda: SelfAttention(12, 6, kv_heads=4), "choose kv_heads out of 1, 2, 3, 6"),
        (lambda: SelfAttention(12, 6, window=0), "window is a number of tokens from 1 on, but it is 0"),
        (lambda: Rotary(9, 3, 8), "choose dim as a multiple of 6"),
        (lambda: Sinusoidal(9, 3, 8), "dim is 9"),
    ],
)
def test_what_does_not_fit_is_said(make, needed):
    with pytest.raises(UserError, match=needed):
        make()
