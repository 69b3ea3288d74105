"""The plugin differential attention against its formula and transformers' DiffLlama, loaded as a recipe loads it."""

import math
import sys
from functools import partial

import pytest
import torch
from torch import nn
from transformers.models.diffllama.modeling_diffllama import DiffLlamaAttention, DiffLlamaConfig

from lmkit.errors import UserError
from lmkit.layers import ALiBi, At, NoPosition, RMSNorm, Rotary, SelfAttention
from lmkit.layers.weights import initialize
from lmkit.network import Decoder
from lmkit.network.cache import LayerCache
from lmkit.network.pattern import Layer
from lmkit.registry import load_plugins
from tests.conftest import ROOT
from tests.layers import references

D, H, T = 24, 4, 9


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def make():
    load_plugins([str(ROOT / "plugins" / "differential_attention.py")])
    return sys.modules["lmkit_plugins.differential_attention"].DifferentialAttention


def filled(module, std=0.3):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module


def decoder(make, position=Rotary, **options):
    return filled(Decoder(50, 16, D, 2, H, position=position, attention=partial(make, **options))).eval()


@pytest.mark.parametrize("kv_heads", [None, 2])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("position", [NoPosition, ALiBi])
def test_it_is_its_formula(make, kv_heads, window, documents, position):
    """Of values as wide as keys at a time, one pair at a time."""
    layer = filled(make(D, H, kv_heads, window, lambda_init=0.35, norm=partial(RMSNorm, eps=0.1)))
    x, groups = torch.randn(2, T, D), kv_heads or H
    made = position(D, H, T)
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2]] * 2) if documents else None
    at = At(bias=made(x, torch.arange(T)[None])[1].bias, documents=ids)

    q, k, v = ((x @ part.weight.T).view(2, T, -1, 6).transpose(1, 2) for part in (layer.q, layer.k, layer.v))
    weight = (layer.lambda_q1 @ layer.lambda_k1).exp() - (layer.lambda_q2 @ layer.lambda_k2).exp() + 0.35
    found = []
    for pair in range(H // 2):
        group = pair * groups // H
        halves = []
        for half in (0, 1):
            maps = []
            for head, key in ((2 * pair, 2 * group), (2 * pair + 1, 2 * group + 1)):
                slopes = [made.slopes[head]] if position is ALiBi else None
                one = (q[:, [head]], k[:, [key]], v[:, [2 * group + half]])
                maps.append(references.attention(*one, window, ids, slopes)[:, 0])
            halves.append(maps[0] - weight * maps[1])
        found.append(0.65 * references.rms_norm(torch.cat(halves, dim=-1), layer.norm.weight, 0.1))
    torch.testing.assert_close(layer(x, at), torch.cat(found, dim=-1) @ layer.out.weight.T)


@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("index", [0, 3])
def test_it_equals_diffllama_of_transformers(make, kv_heads, index):
    """Which pairs the heads i and i + H / 2, where ours are neighbours."""
    config = DiffLlamaConfig(hidden_size=D, num_attention_heads=H, num_key_value_heads=kv_heads)
    theirs = filled(DiffLlamaAttention(config, layer_idx=index).double())
    lambda_init = 0.8 - 0.6 * math.exp(-0.3 * index)
    ours = make(D, H, kv_heads, lambda_init=lambda_init, norm=partial(RMSNorm, eps=config.rms_norm_eps))
    state = theirs.state_dict()
    new = {name: value for name, value in state.items() if name.startswith("lambda")}
    for name in "qkv":
        halves = state[f"{name}_proj.weight"].view(2, -1, 6, D)  # (2, heads / 2, K, D)
        new[f"{name}.weight"] = halves.transpose(0, 1).reshape(-1, D)
    new |= {"out.weight": state["o_proj.weight"], "norm.weight": torch.ones(12)}
    ours.load_state_dict(new)
    x = torch.randn(2, T, D)
    _, at = Rotary(D, H, T)(x, torch.arange(T)[None])
    mask = torch.full((T, T), float("-inf")).triu(1)[None, None]
    expected = theirs(x, position_embeddings=tuple(part[0] for part in at.rotation[:2]), attention_mask=mask)[0]
    torch.testing.assert_close(ours(x, at), expected, rtol=0, atol=2e-6)  # their softmax is in float32


@pytest.mark.parametrize("options", [{}, {"kv_heads": 2}, {"kv_heads": 2, "window": 5}])
@pytest.mark.parametrize("position", [Rotary, ALiBi, NoPosition])
def test_cached_decoding_equals_reading_at_once(make, position, options):
    network, ids = decoder(make, position, **options), torch.randint(50, (2, 16))
    cache = network.cache()
    pieces = [network(piece, cache=cache) for piece in ids.split((6, 1, 1, 4, 4), dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(ids), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("window", "kept"), [(None, 32), (5, 4)])
def test_its_cache_is_as_large_as_that_of_self_attention(make, window, kept):
    cache = LayerCache(32)
    make(D, H, kv_heads=2, window=window)(torch.randn(3, T, D), At(cache=cache))
    assert cache.bytes == 3 * kept * 2 * (2 * 6) * 8  # rows, tokens, keys and values, numbers, bytes of a float64


@pytest.mark.parametrize("position", [Rotary, ALiBi])
def test_a_future_token_changes_nothing_and_documents_are_apart(make, position):
    network, ids = decoder(make, position), torch.randint(50, (1, 16))
    changed = ids.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 50
    torch.testing.assert_close(network(ids)[:, :9], network(changed)[:, :9], rtol=0, atol=1e-12)
    documents = torch.tensor([[0] * 5 + [1] * 11])
    alone = [network(part) for part in ids.split((5, 11), dim=1)]
    torch.testing.assert_close(network(ids, documents), torch.cat(alone, dim=1), rtol=0, atol=1e-12)


def test_beside_another_attention_each_finds_its_own_masks(make):
    pattern = [Layer(attention=make), Layer(attention=SelfAttention)]
    network = filled(Decoder(50, 16, D, 2, H, position=ALiBi, pattern=pattern))
    ids, cache = torch.randint(50, (2, 16)), network.cache()
    pieces = [network(piece, cache=cache) for piece in ids.split((7, 1, 1, 7), dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(ids), rtol=0, atol=1e-10)


def test_it_costs_what_self_attention_costs(make):
    counts = [sum(part.numel() for part in kind(D, H).parameters() if part.ndim == 2) for kind in (make, SelfAttention)]
    assert counts[0] == counts[1]


def test_it_starts_near_lambda_init_and_fills_what_it_owns(make):
    with torch.device("meta"):
        layer = make(64, 2, lambda_init=0.5)
    initialize(layer, torch.device("cpu"))
    assert layer.lambda_q1.std().item() == pytest.approx(0.1, rel=0.5)
    assert layer.weight_of_second().item() == pytest.approx(0.5, abs=0.3)


def test_its_gradients(make):
    layer = filled(make(8, 2), std=0.5)
    x = torch.randn(1, 4, 8, requires_grad=True)
    named = {name: part.detach().clone().requires_grad_() for name, part in layer.named_parameters()}

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(named, values, strict=True)), (x, At()))

    assert torch.autograd.gradcheck(run, (x, *named.values()))


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({"heads": 3}, "heads is 3 and kv_heads 3: make both even"),
        ({"heads": 4, "kv_heads": 1}, "heads is 4 and kv_heads 1: make both even"),
        ({"heads": 4, "kv_heads": 3}, "choose kv_heads out of 1, 2, 4"),
        ({"heads": 4, "window": 0}, "window is a number of tokens from 1 on, but it is 0"),
        ({"heads": 4, "lambda_init": 1.0}, "lambda_init is 1.0: give 0 or more, but less than 1"),
    ],
)
def test_what_does_not_fit_is_said(make, options, needed):
    with pytest.raises(UserError, match=needed):
        make(D, **options)
