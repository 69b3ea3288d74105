"""Latent attention: its two forms against each other, a slow reference and transformers' DeepSeek; its small cache."""

from functools import partial

import pytest
import torch
from torch import nn
from transformers.models.deepseek_v2 import modeling_deepseek_v2 as v2
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as v3

from lmkit.errors import UserError
from lmkit.layers import ALiBi, At, LatentAttention, LayerNorm, NoPosition, Rotary, SelfAttention
from lmkit.layers.heads import rotate
from lmkit.network import Decoder, Encoder
from lmkit.network.cache import LayerCache
from lmkit.network.pattern import Layer
from tests.layers import references

D, H, T = 24, 4, 9
WIDTHS = {"kv_rank": 10, "nope_dim": 6, "rope_dim": 4, "v_dim": 5}


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def filled(module, std=0.5):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=std)
    return module


def angles(width, time=T, start=0):
    frequencies = 100.0 ** (-torch.arange(0, width, 2) / width)
    return (torch.arange(start, start + time)[:, None] * frequencies)[None]  # (1, T, R / 2)


def rotation(width, time=T, start=0):
    both = angles(width, time, start).repeat(1, 1, 2).unsqueeze(1)
    return both.cos(), both.sin()


def decoder(position=Rotary, network=Decoder, **options):
    recipe = partial(LatentAttention, **options)
    return filled(network(50, 16, D, 2, H, position=position, attention=recipe), std=0.3).eval()


@pytest.mark.parametrize("q_rank", [None, 7])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
def test_it_is_its_formula(q_rank, window, documents, rotated):
    layer = filled(LatentAttention(D, H, q_rank=q_rank, window=window, scale=6**-0.5, **{**WIDTHS, "v_dim": 10}))
    x = torch.randn(2, T, D)
    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2]] * 2) if documents else None
    at = At(rotation(4) if rotated else None, documents=ids)
    turn = (lambda part: rotate(part, *at.rotation)) if rotated else (lambda part: part)

    def project(part, linear):
        return (part @ linear.weight.T).view(2, T, -1, linear.weight.size(0) // H).transpose(1, 2)

    q = x if q_rank is None else references.rms_norm(x @ layer.q_down.weight.T, layer.q_norm.weight, 1e-6)
    q = project(q, layer.q)
    latent = references.rms_norm(x @ layer.kv_down.weight.T, layer.kv_norm.weight, 1e-6)
    shared = turn((x @ layer.k_rope.weight.T).unsqueeze(1)).expand(-1, H, -1, -1)
    q = torch.cat([q[..., :6], turn(q[..., 6:])], dim=-1) * (10 / 6) ** 0.5  # the reference divides by the root of 10
    k = torch.cat([project(latent, layer.k), shared], dim=-1)
    y = references.attention(q, k, project(latent, layer.v), window, ids, None)
    torch.testing.assert_close(layer(x, at), y.transpose(1, 2).flatten(2) @ layer.out.weight.T)


def deepseek(module, **options):
    """An attention of transformers; ours with its weights, whose pairs to rotate lie apart by half instead of 1."""
    names = ("DeepseekV2Config", "DeepseekV2Attention") if module is v2 else ("DeepseekV3Config", "DeepseekV3Attention")
    config = getattr(module, names[0])(
        hidden_size=D, num_attention_heads=H, num_key_value_heads=H, kv_lora_rank=10, qk_nope_head_dim=6,
        qk_rope_head_dim=4, v_head_dim=5, attn_implementation="eager", **options,
    )  # fmt: skip
    theirs = filled(getattr(module, names[1])(config, layer_idx=0).double())
    bias = config.attention_bias
    ours = LatentAttention(D, H, q_rank=config.q_lora_rank, scale=theirs.scaling, bias=bias, **WIDTHS)
    pairs = torch.tensor([0, 2, 1, 3])
    state = theirs.state_dict()
    down, up = state["kv_a_proj_with_mqa.weight"], state["kv_b_proj.weight"].view(H, 11, 10)
    q = state["q_proj.weight" if config.q_lora_rank is None else "q_b_proj.weight"].view(H, 10, -1)
    new = {
        "q.weight": torch.cat([q[:, :6], q[:, 6:][:, pairs]], dim=1).flatten(0, 1),
        "kv_down.weight": down[:10],
        "k_rope.weight": down[10:][pairs],
        "kv_norm.weight": state["kv_a_layernorm.weight"],
        "k.weight": up[:, :6].flatten(0, 1),
        "v.weight": up[:, 6:].flatten(0, 1),
        "out.weight": state["o_proj.weight"],
    }
    if config.q_lora_rank is not None:
        new |= {"q_down.weight": state["q_a_proj.weight"], "q_norm.weight": state["q_a_layernorm.weight"]}
    if bias:
        down = state["kv_a_proj_with_mqa.bias"]
        new |= {"kv_down.bias": down[:10], "k_rope.bias": down[10:][pairs], "out.bias": state["o_proj.bias"]}
    if bias and config.q_lora_rank is not None:
        new |= {"q_down.bias": state["q_a_proj.bias"]}
    ours.load_state_dict(new)
    return theirs, ours


YARN = {"rope_type": "yarn", "factor": 8.0, "mscale_all_dim": 0.7, "rope_theta": 1e4}


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (v2, {"q_lora_rank": None}),
        (v2, {"q_lora_rank": 7}),
        (v3, {"q_lora_rank": None}),
        (v3, {"q_lora_rank": 7}),
        (v3, {"q_lora_rank": 7, "rope_parameters": YARN}),
        (v2, {"q_lora_rank": 7, "attention_bias": True}),
        (v3, {"q_lora_rank": None, "attention_bias": True}),
        (v3, {"q_lora_rank": 7, "attention_bias": True}),
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_it_equals_deepseek_of_transformers(module, options, cached):
    theirs, ours = deepseek(module, **options)
    x = torch.randn(2, T, D)
    turns = torch.polar(torch.ones(1, T, 2), angles(4)) if module is v2 else tuple(p[0] for p in rotation(4))
    mask = torch.full((T, T), float("-inf")).triu(1)[None, None]
    expected = theirs(x, position_embeddings=turns, attention_mask=mask)[0]
    cache = LayerCache(T) if cached else None
    pieces = x.split((5, 1, 2, 1) if cached else T, dim=1)
    starts = torch.tensor([0, *(piece.size(1) for piece in pieces)]).cumsum(0).tolist()
    found = [ours(p, At(rotation(4, p.size(1), s), cache=cache)) for p, s in zip(pieces, starts, strict=False)]
    # transformers' V2 turns pairs and takes its softmax in float32, V3 its softmax
    torch.testing.assert_close(torch.cat(found, dim=1), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("time", [1, 2, 5])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("biased", [False, True])
def test_absorbed_and_expanded_are_one_function(time, window, biased):
    layer = filled(LatentAttention(D, H, window=window, **WIDTHS))
    bias = (
        (lambda distance: -torch.rand(H, 1, 1, generator=torch.Generator().manual_seed(0)) * distance)
        if biased
        else None
    )
    shapes = ((2, H, time, 6), (2, H, time, 4), (2, 1, T, 10), (2, 1, T, 4))
    parts = [torch.randn(shape, requires_grad=True) for shape in shapes]
    both = [form(*parts, At(bias=bias)) for form in (layer._absorbed, layer._expanded)]
    torch.testing.assert_close(*both, rtol=0, atol=1e-12)
    back = torch.randn_like(both[0])
    wanted = [*parts, layer.k.weight, layer.v.weight]
    for one, other in zip(*(torch.autograd.grad(y, wanted, back) for y in both), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_it_is_absorbed_where_that_is_less_work():
    with torch.device("meta"):
        layer = LatentAttention(5120, 128, kv_rank=512, nope_dim=128, rope_dim=64, v_dim=128)
    assert not layer._absorbs(4096, 4096)
    assert not layer._absorbs(1, 1)
    assert layer._absorbs(1, 4096)
    assert layer._absorbs(32, 4096)
    assert not layer._absorbs(2048, 4096)


def test_decoding_never_expands_the_past():
    network, expanded = decoder(), []
    for block in network.blocks:
        for project in (block.attention.k, block.attention.v):
            project.register_forward_hook(lambda module, given, found: expanded.append(given[0].size(1)))
    ids, cache = torch.randint(50, (2, 16)), network.cache()
    network(ids[:, :12], cache=cache)
    assert expanded == [12] * 4  # the prompt, once in each of two blocks for keys and for values
    for token in ids[:, 12:].split(1, dim=1):
        network(token, cache=cache)
    assert len(expanded) == 4


@pytest.mark.parametrize("options", [{}, {"q_rank": 5, "norm": LayerNorm}, {"window": 5}, {**WIDTHS, "rope_dim": 6}])
@pytest.mark.parametrize("position", [Rotary, ALiBi, NoPosition])
@pytest.mark.parametrize("cuts", [(6, 1, 1, 4, 4), (1,) * 16])
def test_cached_decoding_equals_reading_at_once(position, options, cuts):
    network, ids = decoder(position, **options), torch.randint(50, (2, 16))
    cache = network.cache()
    pieces = [network(piece, cache=cache) for piece in ids.split(cuts, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(ids), rtol=0, atol=1e-10)


@pytest.mark.parametrize("position", [Rotary, ALiBi])
def test_a_future_token_changes_nothing_and_documents_are_apart(position):
    network, ids = decoder(position), torch.randint(50, (1, 16))
    changed = ids.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 50
    torch.testing.assert_close(network(ids)[:, :9], network(changed)[:, :9], rtol=0, atol=1e-12)
    documents = torch.tensor([[0] * 5 + [1] * 11])
    alone = [network(part) for part in ids.split((5, 11), dim=1)]
    torch.testing.assert_close(network(ids, documents), torch.cat(alone, dim=1), rtol=0, atol=1e-12)


def test_in_an_encoder_the_first_token_sees_the_last():
    network, ids = decoder(network=Encoder), torch.randint(50, (1, 16))
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 50
    assert not torch.allclose(network(ids)[:, 0], network(changed)[:, 0])


def test_its_cache_holds_latents_and_one_key():
    layer, heads = LatentAttention(D, H, **WIDTHS), SelfAttention(D, H)
    bytes_of = {}
    for attention in (layer, heads):
        cache = LayerCache(32)
        attention(torch.randn(3, T, D), At(cache=cache))
        bytes_of[attention] = cache.bytes
    assert bytes_of[layer] == 3 * 32 * (10 + 4) * 8  # rows, capacity, numbers, bytes of a float64
    assert bytes_of[heads] == 3 * 32 * 2 * D * 8


def test_with_a_window_its_cache_holds_no_more_than_that():
    cache = LayerCache(32)
    LatentAttention(D, H, window=5, **WIDTHS)(torch.randn(3, T, D), At(cache=cache))
    assert cache.bytes == 3 * (5 - 1) * (10 + 4) * 8


def test_layers_of_a_pattern_may_differ_in_their_attention():
    pattern = [Layer(attention=LatentAttention), Layer(attention=SelfAttention)]
    network = filled(Decoder(50, 16, D, 2, H, pattern=pattern), std=0.3)
    ids, cache = torch.randint(50, (2, 16)), network.cache()
    pieces = [network(piece, cache=cache) for piece in ids.split((7, 1, 1, 7), dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(ids), rtol=0, atol=1e-10)


class Adapted(nn.Module):
    """A projection with a low-rank addition, in place of the plain one."""

    def __init__(self, base):
        super().__init__()
        self.base, self.down, self.up = base, nn.Linear(base.in_features, 2), nn.Linear(2, base.out_features)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)

    @property
    def weight(self):
        return self.base.weight

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


def test_an_adapter_counts_in_both_forms():
    network, ids = decoder(), torch.randint(50, (2, 16))
    plain = network(ids)
    for block in network.blocks:
        block.attention.k, block.attention.v = Adapted(block.attention.k), Adapted(block.attention.v)
    cache = network.cache()
    pieces = [network(piece, cache=cache) for piece in ids.split((8, 1, 1, 6), dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), network(ids), rtol=0, atol=1e-10)
    assert not torch.allclose(network(ids), plain)


def test_autocast_decodes_what_it_reads():
    network, ids = decoder().float(), torch.randint(50, (2, 16))
    with torch.autocast("cpu", torch.bfloat16):
        cache = network.cache()
        pieces = [network(piece, cache=cache) for piece in ids.split((8, 1, 1, 6), dim=1)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), network(ids), rtol=0, atol=0.1)


def test_its_gradients():
    layer = filled(LatentAttention(8, 2, q_rank=3, kv_rank=4))
    x = torch.randn(1, 4, 8, requires_grad=True)
    names, values = zip(
        *((name, p.detach().clone().requires_grad_()) for name, p in layer.named_parameters()), strict=True
    )

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x, At(rotation(4, 4))))

    assert torch.autograd.gradcheck(run, (x, *values))


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: LatentAttention(D, 5), "heads is 5 and dim is 24: choose heads out of 1, 2, .* or give nope_dim, "),
        (lambda: LatentAttention(D, 5, nope_dim=4), "another dim, or give rope_dim, v_dim$"),
        (lambda: LatentAttention(D, H, kv_rank=0), "kv_rank is 0: give a width of 1 or more"),
        (lambda: LatentAttention(D, H, window=0), "window is a number of tokens from 1 on, but it is 0"),
        (
            lambda: decoder(rope_dim=4)(torch.zeros(1, 3).long()),
            "rotates 6 numbers, but rope_dim .* is 4: set rope_dim to 6",
        ),
    ],
)
def test_what_does_not_fit_is_said(make, needed):
    with pytest.raises(UserError, match=needed):
        make()


def test_widths_that_are_all_given_need_no_division():
    assert LatentAttention(D, 5, **WIDTHS)(torch.randn(1, T, D), At(rotation(4))).shape == (1, T, D)
