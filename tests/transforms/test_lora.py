"""Adapters of low rank: where they are put, what they compute, what learns, and how they are merged."""

import sys
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

from lmkit.errors import UserError
from lmkit.layers import (
    CrossAttention,
    Gated,
    GatedDeltaNet,
    LatentAttention,
    LayerNorm,
    Linear,
    MixtureOfExperts,
    SelfAttention,
)
from lmkit.layers.weights import initialize
from lmkit.network import CrossPreNorm, Decoder, Encoder, EncoderDecoder, Parallel
from lmkit.tasks import Pretraining
from lmkit.transforms import Checkpointing, DoRA, Freeze, LearningRate, LoRA, transformed
from lmkit.transforms.merging import adapted, base_state, merged_state
from tests.tasks.test_step import ADAMW, PARTS, SCHEDULE, STEPS, Given, T, V, plain_loss, trainer, uneven

NETWORK = partial(Decoder, V, T, 16, 2, 2)
LATENT = partial(LatentAttention, kv_rank=8, q_rank=6)
MIXED = partial(MixtureOfExperts, experts=4, active=2, hidden=12, shared=1)
CROSS = partial(CrossPreNorm, cross=partial(CrossAttention, heads=2))
NETWORKS = {
    "plain": NETWORK,
    "untied": partial(NETWORK, tied=False, norm=LayerNorm, feed_forward=Gated),
    "biases": partial(NETWORK, attention=partial(SelfAttention, bias=True, gated=True), block=Parallel),
    "latent": partial(NETWORK, attention=LATENT),
    "linear": partial(NETWORK, attention=GatedDeltaNet),
    "mixture": partial(NETWORK, feed_forward=MIXED),
    "encoder": partial(Encoder, V, T, 16, 2, 2),
    "both": partial(EncoderDecoder, partial(Encoder, V, T, 16, 1, 2), partial(Decoder, V, T, 16, 1, 2, block=CROSS)),
}
ROWS = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(4))


def logits(network):
    return network.logits(network(*[ROWS] * (2 if isinstance(network, EncoderDecoder) else 1)))


def stirred(network, seed=1):
    """With noise on what learns, as training would leave it."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=draw)
    return network


def learned(network):
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("transform", [LoRA(rank=3, alpha=5.0), LoRA(rank=3, rslora=True), DoRA(rank=3, dropout=0.5)])
@pytest.mark.parametrize("name", NETWORKS)
def test_all_matrices_of_layers_are_adapted_and_can_be_merged(name, transform):
    torch.manual_seed(0)
    network = stirred(NETWORKS[name]().double().eval())
    plain = deepcopy(network)
    assert transform(network) is network
    linear = [
        each
        for each, module in plain.named_modules()
        if type(module) is Linear and each.rpartition(".")[2] not in {"head"}
    ]
    assert [*adapted(network.state_dict())] == linear
    parts = ["lora_A", "lora_B"] + ["lora_magnitude_vector"] * transform.dora
    assert learned(network) == {f"{each}.{part}.default.weight" for each in linear for part in parts}
    torch.testing.assert_close(logits(network), logits(plain), rtol=0, atol=1e-12)
    state = stirred(network).state_dict()
    assert all(torch.equal(tensor, plain.state_dict()[each]) for each, tensor in base_state(state).items())
    assert [*base_state(state)] == [*plain.state_dict()]
    changed = logits(network)
    assert (changed - logits(plain)).abs().max() > 0.01
    plain.load_state_dict(merged_state(state, [Freeze(["*"]), transform]))
    torch.testing.assert_close(logits(plain), changed, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("kind", [LoRA, DoRA])
def test_an_adapted_matrix_is_the_one_of_the_paper(kind, rslora):
    torch.manual_seed(0)
    network = NETWORK(tied=False).double()
    stirred(kind(rank=4, alpha=6.0, targets=["blocks.1.*.q"], rslora=rslora)(network))
    layer = network.blocks[1].attention.q
    x = torch.randn(5, 16, dtype=torch.float64)
    w, a, b = layer.base_layer.weight, layer.lora_A.default.weight, layer.lora_B.default.weight
    turned = w + 6.0 / (2 if rslora else 4) * b @ a
    if kind is DoRA:
        turned = layer.lora_magnitude_vector.default.weight[:, None] * turned / turned.norm(dim=1, keepdim=True)
    torch.testing.assert_close(layer(x), x @ turned.t(), rtol=0, atol=1e-12)


def test_patterns_name_modules():
    targets = ["blocks.*.attention.[qv]", "blocks.1.feed_forward.up"]
    network = LoRA(rank=2, targets=targets)(NETWORK())
    names = ["blocks.0.attention.q", "blocks.0.attention.v", "blocks.1.attention.q", "blocks.1.attention.v"]
    assert [*adapted(network.state_dict())] == [*names, "blocks.1.feed_forward.up"]
    alone = LoRA(rank=2, targets="blocks.-2.attention.q")(NETWORK())
    assert [*adapted(alone.state_dict())] == names[:1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["blocks.*.atention.q"]}, r"'blocks.\*.atention.q', in LoRA's targets, .* blocks.0.attention.q"),
        (
            {"targets": ["blocks.*.attention"]},
            "no module that has a matrix: did you mean blocks.1.attention.v",
        ),
        ({"targets": ["zzz"]}, "there are blocks.0.attention.q, blocks.0.attention.k"),
        ({"targets": ["q_proj", "v_proj"]}, r"\(\* stands for any letters, all-linear for all matrices of layers\)"),
        ({"targets": ["head"]}, r"matches head, which cannot be adapted \(logits are made of its matrix itself\)"),
        ({"targets": ["*.norm"]}, "no module that has a matrix"),
        ({"targets": ["embedding"]}, "its class is Embedding, not Linear"),
        (
            {"targets": ["*.gate"]},
            r"blocks.0.feed_forward.gate, .* \(its class is GroupedLinear, not Linear\): give pat",
        ),
        ({"targets": ["*.project"]}, r"router.project, .* \(PreciseLinear multiplies in a way of its own\)"),
        ({"targets": []}, "LoRA has no targets"),
        ({"rank": 0}, "rank of LoRA is 0"),
        ({"alpha": 0.0}, "alpha of LoRA is 0.0"),
        ({"dropout": 1.0}, "dropout of LoRA is 1.0"),
    ],
)
def test_what_cannot_be_adapted_is_told(options, message):
    network = NETWORK(feed_forward=MIXED, tied=False)
    before = [*network.state_dict()]
    with pytest.raises(UserError, match=message):
        LoRA(**options)(network)
    assert [*network.state_dict()] == before
    assert len(learned(network)) == len([*network.parameters()])


def test_a_tied_head_and_a_second_adapter_are_told():
    with pytest.raises(UserError, match="embedding, which cannot be adapted"):
        LoRA(targets=["embedding"])(NETWORK())
    with pytest.raises(UserError, match="DoRA finds adapters in the network already"):
        transformed(NETWORK(), [LoRA(targets=["*.q"]), DoRA(targets=["*.v"])])


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"DoRA needs the package peft: pip install 'lmkit\[peft\]'"):
        DoRA()(NETWORK())


@pytest.mark.parametrize("kind", [LoRA, DoRA])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_network_on_meta_is_adapted_and_filled_later(kind, dtype):
    transform = kind(rank=3)
    with torch.device("meta"):
        network = transform(NETWORK(attention=LATENT).to(dtype))
    direct = transform(NETWORK(attention=LATENT).to(dtype)).state_dict()
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    assert found == {name: (tensor.shape, tensor.dtype) for name, tensor in direct.items()}
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    copied = deepcopy(network)
    for one in (network, copied):
        initialize(one, torch.device("cpu"))
        plain = NETWORK(attention=LATENT).to(dtype)
        plain.load_state_dict(base_state(one.state_dict()))
        atol = 0 if kind is LoRA else {torch.float32: 1e-6, torch.bfloat16: 0.02, torch.float64: 1e-12}[dtype]
        torch.testing.assert_close(logits(one.eval()), logits(plain.eval()), rtol=0, atol=atol)
        assert all(parts["lora_A"].any() for parts in adapted(one.state_dict()).values())


@pytest.mark.parametrize("name", ["plain", "latent", "linear", "mixture"])
def test_an_adapted_network_writes_with_a_cache_what_it_writes_without(name):
    torch.manual_seed(0)
    network = stirred(DoRA(rank=2)(NETWORKS[name]().double()).eval())
    with torch.no_grad():
        whole = logits(network)
        cache = network.cache()
        parts = [network.logits(network(ROWS[:, n : n + 1], cache=cache)) for n in range(T)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-10)


class Beside(nn.Module):
    """A matrix and a low-rank product, plainly."""

    def __init__(self, old, parts, scale):
        super().__init__()
        self.old, self.scale = old, scale
        self.a, self.b = (nn.Parameter(parts[name].clone().double()) for name in ("lora_A", "lora_B"))

    def forward(self, x):
        return self.old(x) + self.scale * (x @ self.a.t()) @ self.b.t()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("ratio", "beside"), [(1, []), (1, [Checkpointing()]), (5, [LearningRate(5, ["*.lora_B.*"])])])
def test_steps_are_those_of_plain_torch(ratio, beside):
    batches = uneven(STEPS * PARTS)
    torch.manual_seed(0)
    transforms = [LoRA(rank=2, alpha=3.0, targets=["*.attention.*", "*.up"]), *beside]
    task = Pretraining(NETWORK, ADAMW, SCHEDULE, transforms=transforms, chunk=5)
    task.configure_model()
    plain = NETWORK().double().requires_grad_(False)
    begun = {name: value.clone() for name, value in task.network.state_dict().items()}
    plain.load_state_dict(base_state(begun))
    for name, parts in adapted(begun).items():
        plain.set_submodule(name, Beside(plain.get_submodule(name), parts, 1.5))
    ours = [parameter for parameter in plain.parameters() if parameter.requires_grad]
    wide = {id(parameter) for name, parameter in plain.named_parameters() if name.endswith(".b")}
    optimizer = ADAMW([{"params": [p for p in ours if (id(p) in wide) == faster]} for faster in (False, True)])
    for step, factor in enumerate([0.5, 1.0, 1.0, 0.6]):
        plain_loss(plain, batches[step * PARTS : (step + 1) * PARTS]).backward()
        torch.nn.utils.clip_grad_norm_(ours, 0.5)
        for group, faster in zip(optimizer.param_groups, (1, ratio), strict=True):
            group["lr"] = 0.01 * factor * faster
        optimizer.step()
        plain.zero_grad()
    made = trainer(max_steps=STEPS, accumulate_grad_batches=PARTS, gradient_clip_val=0.5)
    made.fit(task, Given(batches))
    after = task.network.state_dict()
    for name, value in base_state(after).items():
        assert torch.equal(value, base_state(begun)[name].double()), name
    for name, parts in adapted(after).items():
        low = plain.get_submodule(name)
        torch.testing.assert_close(parts["lora_A"], low.a.data, rtol=0, atol=1e-8 * ratio)
        torch.testing.assert_close(parts["lora_B"], low.b.data, rtol=0, atol=1e-8 * ratio)
        assert parts["lora_B"].any()
