"""Matrices in four bits: what their codes stand for, by formula and by other packages; what learns beside them."""

import subprocess
import sys
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.plugins import HalfPrecision
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributions import Normal

from lmkit.errors import UserError
from lmkit.layers import Gated, LayerNorm, Linear, MixtureOfExperts, NoPosition, SelfAttention
from lmkit.layers.weights import fill, initialize
from lmkit.network import Decoder
from lmkit.tasks.compiling import compile_blocks
from lmkit.transforms import NF4, Checkpointing, DoRA, Int4, LoRA, check_learns, transformed
from lmkit.transforms.four_bit_states import quantized_state, restored_state
from lmkit.transforms.four_bits import FourBitLinear
from lmkit.transforms.merging import adapted, base_state, merged_state
from tests.ranks import in_ranks

NETWORK = partial(Decoder, 60, 12, 24, 2, 2)
BIASES = partial(
    NETWORK, norm=LayerNorm, tied=False, feed_forward=Gated, attention=partial(SelfAttention, bias=True, gated=True)
)
MIXED = partial(NETWORK, feed_forward=partial(MixtureOfExperts, experts=4, active=2, hidden=12, shared=1))
ODD = partial(Decoder, 60, 12, 15, 1, 1, position=NoPosition)
ROWS = torch.randint(60, (2, 12), generator=torch.Generator().manual_seed(4))
METHODS = [NF4(), NF4(double=False, block=32), Int4()]


def logits(network):
    return network.logits(network(ROWS))


def stirred(network):
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=draw)
    return network


def layer(method, outputs=24, inputs=64, bias=True):
    torch.manual_seed(0)
    linear = Linear(inputs, outputs, bias=bias)
    nn.init.normal_(linear.weight)
    return linear, FourBitLinear(linear, method)


def levels():
    """The sixteen values of NF4, by the paper's quantiles of a normal distribution."""
    half = lambda n: Normal(0.0, 1.0).icdf(torch.linspace(0.9677083, 0.5, n, dtype=torch.float64)[:-1])  # noqa: E731
    values = torch.cat([-half(8), torch.zeros(1), half(9)]).sort().values
    return values / values.max()


@pytest.mark.parametrize("shape", [(64, 64), (24, 96), (5, 96), (4, 10), (7, 66)])
@pytest.mark.parametrize("block", [32, 64, 128])
def test_nf4_takes_the_nearest_value_of_the_paper_in_each_block(shape, block):
    linear, quantized = layer(NF4(block=block, double=False), *shape)
    expected = []
    for numbers in linear.weight.detach().flatten().double().split(block):
        scale = numbers.abs().max()
        expected.append(levels()[(numbers[:, None] / scale - levels()).abs().argmin(1)] * scale)
    torch.testing.assert_close(quantized.weight, torch.cat(expected).view(shape).float(), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_nf4_is_that_of_bitsandbytes_and_nearly_that_of_torchao():
    """torchao rounds the values to four digits, and scales of scales in another way."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    from torchao.quantization import to_nf4

    linear, quantized = layer(NF4(), 128, 128)
    peer = dequantize_4bit(*quantize_4bit(linear.weight.data, quant_type="nf4", compress_statistics=True))
    assert torch.equal(quantized.weight, peer)
    other = to_nf4(linear.weight.data)
    assert (other.quantized_data == quantized.weight_codes.flatten()).float().mean() > 0.995
    assert (other.get_original_weight() - peer).norm() < 0.01 * peer.norm()
    single = layer(NF4(double=False), 128, 128)[1].weight
    assert 0 < (single - peer).norm() < 0.01 * peer.norm()


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("moved", [True, False], ids=["moved", "built"])
def test_scales_of_nf4_keep_their_digits_in_bfloat16(double, moved):
    """So that a matrix is that of bitsandbytes, rounded once."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    torch.manual_seed(0)
    network = Decoder(60, 12, 128, 1, 2).to(torch.bfloat16)
    plain = deepcopy(network.blocks[0].attention.q.weight.data.float())
    method = NF4(double=double)
    network = transformed(network.float() if moved else network, [method, LoRA(rank=2)])
    if moved:
        network = HalfPrecision("bf16-true").convert_module(network)
    layer = network.blocks[0].attention.q.base_layer
    peer = dequantize_4bit(*quantize_4bit(plain, quant_type="nf4", compress_statistics=double)).to(torch.bfloat16)
    assert torch.equal(layer.weight, peer)
    state = network.state_dict()
    assert torch.equal(restored_state(state, [method])["blocks.0.attention.q.base_layer.weight"], peer)
    name = f"blocks.0.attention.q.base_layer.weight_{'levels' if double else 'scales'}"
    assert state[name].dtype == torch.float32
    former = {**state, name: state[name].bfloat16()}  # as checkpoints had it
    with torch.device("meta"):
        again = transformed(Decoder(60, 12, 128, 1, 2).to(torch.bfloat16), [method, LoRA(rank=2)])
    fill(again, former)
    assert again.state_dict()[name].equal(former[name].float())


SCRIPT = """
import torch
from lmkit.transforms import NF4
weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
torch.set_default_dtype(torch.%s)
parts = NF4().parts(weight)
print([part.tolist() for part in parts.values()], NF4().restored(parts, torch.float32).tolist())
"""


@pytest.mark.slow
def test_codes_and_values_do_not_depend_on_the_dtype_in_which_a_process_first_asks_for_them():
    """By processes, since bitsandbytes keeps its values for good, and once rounded them to the default dtype."""
    said = [
        subprocess.run([sys.executable, "-c", SCRIPT % dtype], capture_output=True, text=True, check=True).stdout
        for dtype in ("float32", "bfloat16")
    ]
    assert said[0] == said[1]


def test_scales_of_int4_keep_their_digits_in_bfloat16():
    linear, quantized = layer(Int4(block=32), 24, 96)
    whole = quantized.weight
    assert quantized.to(torch.bfloat16).weight_scales.dtype == torch.float32
    assert torch.equal(quantized.weight, whole.bfloat16())
    again = FourBitLinear(linear.to(torch.bfloat16), Int4(block=32))
    torch.testing.assert_close(again.weight_scales, quantized.weight_scales, rtol=2**-7, atol=0)


def test_int4_is_that_of_torchao_and_of_the_formula():
    from torchao.quantization import IntxWeightOnlyConfig, MappingType, PerGroup, quantize_

    linear, quantized = layer(Int4(block=32), 24, 96)
    rows = linear.weight.detach().view(-1, 32)
    low, high = rows.amin(1, True).clamp(max=0), rows.amax(1, True).clamp(min=0)
    scale = (high - low) / 15
    zero = (-low / scale).round()
    expected = ((rows / scale).round() + zero).clamp(0, 15).sub(zero).mul(scale).view(24, 96)
    torch.testing.assert_close(quantized.weight, expected, rtol=0, atol=1e-6)
    config = IntxWeightOnlyConfig(torch.int4, PerGroup(32), MappingType.ASYMMETRIC)
    quantize_(peer := deepcopy(nn.Sequential(linear)), config)
    torch.testing.assert_close(quantized.weight, peer[0].weight.dequantize(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("method", "bits"), [(NF4(), 4.127), (NF4(double=False), 4.5), (Int4(), 4.625)])
def test_a_number_takes_about_half_a_byte_and_nothing_more_is_kept_for_the_backward_pass(method, bits):
    _, quantized = layer(method, 128, 512, bias=False)
    assert sum(part.nbytes for part in quantized.parameters()) * 8 / (128 * 512) == pytest.approx(bits, abs=1e-3)
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        quantized(torch.randn(3, 512, requires_grad=True))
    assert {id(tensor) for tensor in kept} == {id(part) for part in quantized.parameters()}


@pytest.mark.parametrize(
    ("make", "method", "adapter"),
    [
        *[(NETWORK, method, LoRA(rank=3)) for method in METHODS],
        *[(BIASES, method, DoRA(rank=3)) for method in METHODS],
        (MIXED, NF4(), LoRA(rank=3)),
    ],
)
def test_it_computes_and_learns_as_the_restored_network(make, method, adapter):
    """Forward and gradients, with a recomputation too, also under autocast; and merged."""
    torch.manual_seed(0)
    network = transformed(base := make(), [method, adapter, Checkpointing(every=2)])
    assert network is base
    state = stirred(network).state_dict()
    plain = transformed(make(), [adapter])
    plain.load_state_dict(restored_state(state, [method, adapter]))
    for one in (network, plain):
        one.train()
        logits(one).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters() if parameter.requires_grad}
    assert gradients.keys() == {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    for name, gradient in gradients.items():
        torch.testing.assert_close(network.get_parameter(name).grad, gradient, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits(network), logits(plain), rtol=0, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(logits(network), logits(plain), rtol=0, atol=1e-2)
    merged = make()
    merged.load_state_dict(merged_state(state, [method, adapter]))
    torch.testing.assert_close(logits(merged.eval()), logits(network.eval()), rtol=1e-5, atol=1e-5)


def test_what_the_adapter_leaves_out_is_restored_as_it_is():
    method, adapter = NF4(targets=["*.up", "*.[qk]"]), LoRA(rank=2, targets=["*.q"])
    network = stirred(transformed(NETWORK(), [method, adapter]))
    state = network.state_dict()
    assert [*adapted(state)] == ["blocks.0.attention.q", "blocks.1.attention.q"]
    codes = [name for name in state if name.endswith("weight_codes")]
    names = ("attention.q.base_layer", "attention.k", "feed_forward.up")
    assert codes == [f"blocks.{number}.{name}.weight_codes" for number in (0, 1) for name in names]
    merged = merged_state(state, [method, adapter])
    assert torch.equal(merged["blocks.0.attention.k.weight"], network.blocks[0].attention.k.weight)
    assert torch.equal(merged["blocks.0.attention.v.weight"], network.blocks[0].attention.v.weight)
    with pytest.raises(UserError, match="is in four bits, but the recipe has no NF4 or Int4"):
        merged_state(state, [adapter])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_a_base_that_is_read_again_has_the_same_codes(method, dtype):
    base = deepcopy((network := BIASES().to(dtype)).state_dict())
    state = stirred(transformed(network, [method, adapter := DoRA(rank=2)])).state_dict()
    again, own = quantized_state(base, state, [method, adapter]), base_state(state)
    assert again.keys() == own.keys()
    for name, tensor in own.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_on_meta_it_needs_no_numbers_and_is_filled_later(method, dtype):
    """By first values, which are those of the plain network, or by a state."""
    with torch.device("meta"):
        network = method(BIASES().to(dtype))
        assert network.logits(network(torch.zeros_like(ROWS, device="meta"))).dtype == dtype
    copied = deepcopy(network)
    plain = BIASES().to(dtype)
    for one in (network, plain):
        torch.manual_seed(3)
        initialize(one, torch.device("cpu"))
    direct = method(plain)
    state = direct.state_dict()
    assert {each.dtype for each in state.values()} == {torch.uint8, torch.float32, dtype}
    assert {each.dtype for name, each in state.items() if ".weight_" not in name} == {dtype}
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == state[name].dtype
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)
    fill(copied, state)
    assert torch.equal(logits(copied), logits(direct))
    assert not any(parameter.requires_grad for parameter in copied.parameters())


def test_zeros_and_a_moved_dtype():
    for method in METHODS:
        linear, _ = layer(method)
        nn.init.zeros_(linear.weight)
        quantized = FourBitLinear(linear, method)
        assert not quantized.weight.any()
        _, quantized = layer(method)
        x = torch.randn(5, 64)
        rounded = deepcopy(quantized).to(torch.bfloat16)
        assert rounded.weight.dtype == rounded(x.bfloat16()).dtype == torch.bfloat16
        torch.testing.assert_close(rounded(x.bfloat16()).float(), quantized(x), rtol=0, atol=0.3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NF4(block=48), "block of NF4 is 48: give one of 32, 64"),
        (lambda: Int4(block=1), "block of Int4 is 1: give 2 or more"),
        (lambda: NF4(targets=[]), "NF4 has no targets"),
        (lambda: NF4(targets=["*.q_proj"])(NETWORK()), r"'\*.q_proj', in NF4's targets, is the name of no Linear"),
        (lambda: NF4(targets=["blocks.1.attention.qq"])(NETWORK()), "did you mean blocks.1.attention.q"),
        (lambda: NF4(targets=["embedding"])(NETWORK()), "'embedding', in NF4's targets, is the name of no Linear"),
        (lambda: NF4(targets=["head"])(BIASES()), "'head', in NF4's targets, is the name of no Linear"),
        (lambda: NF4(targets=["*.project"])(MIXED()), r"'\*.project', in NF4's targets, is the name of no Linear"),
        (lambda: NF4(targets=["*.q"])(ODD()), r"'\*.q', in NF4's targets, is the name of no Linear that can be"),
        (lambda: Int4(targets=["*.q"], block=50)(NETWORK()), "no matrices that Int4 could quantize: leave it out"),
        (lambda: transformed(NETWORK(), [LoRA(), NF4()]), "NF4 has to come first in model.transforms, before an ada"),
        (lambda: transformed(NETWORK(), [NF4(), Int4()]), "Int4 has to come first .* and once"),
        (lambda: check_learns(NF4()(NETWORK()), [NF4()]), "nothing of the network is left to learn after NF4"),
    ],
)
def test_what_cannot_be_is_told(make, message):
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize(("method", "package"), [(NF4, "bitsandbytes"), (Int4, "torchao")])
def test_without_its_package_the_extra_is_named(method, package, monkeypatch):
    state = method()(NETWORK()).state_dict()
    for name in [each for each in sys.modules if each == package or each.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    for use in (lambda: method()(NETWORK()), lambda: restored_state(state, [method()])):
        with pytest.raises(UserError, match=rf"{method.__name__} needs the package {package}: pip install 'lmkit\[qu"):
            use()


@pytest.mark.slow
def test_compiled_it_is_the_same():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    network = stirred(transformed(NETWORK(), [NF4(), LoRA(rank=3)]))
    compiled = deepcopy(network)
    compile_blocks(compiled)
    for one in (network, compiled):
        logits(one).square().sum().backward()
    assert not torch._dynamo.utils.counters["graph_break"]
    for one, other in zip(network.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def steps(network, rows, average):
    """Losses of some steps."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 0.01)
    losses = []
    for _ in range(4):
        made = network.logits(network(rows[:, :-1])).flatten(0, 1)
        loss = F.cross_entropy(made, rows[:, 1:].flatten())
        loss.backward()
        losses.append(average(loss.detach().clone()).item())
        optimizer.step()
        optimizer.zero_grad()
    return losses


def sharded(mesh, method, adapter):
    """One of two processes, which compares itself with a network that is not sharded."""
    rank = mesh.get_rank()
    rows = torch.randint(60, (4, 12), generator=torch.Generator().manual_seed(2))
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        networks.append(stirred(transformed(NETWORK(), [method, adapter, Checkpointing()])))
    whole, split = networks
    size = sum(part.nbytes for part in whole.blocks.parameters())
    for block in split.blocks:
        fully_shard(block, mesh=mesh)

    def average(loss):
        torch.distributed.all_reduce(loss)
        return loss / 2

    expected = steps(whole, rows, lambda loss: loss)
    found = steps(split, rows[2 * rank : 2 * rank + 2], average)
    assert found == pytest.approx(expected, rel=1e-5)
    codes = split.blocks[0].attention.q.base_layer.weight_codes
    assert isinstance(codes, DTensor)
    assert codes.to_local().shape == (12, 12)
    held = sum(part.to_local().nbytes for part in split.blocks.parameters())
    assert held < 0.6 * size
    for one, other in zip(split.parameters(), whole.parameters(), strict=True):
        one = one.full_tensor() if isinstance(one, DTensor) else one
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "adapter"), [(NF4(), LoRA(rank=3)), (Int4(), DoRA(rank=3))])
def test_shards_on_two_ranks_learn_as_the_whole(method, adapter, tmp_path):
    in_ranks(sharded, method, adapter, folder=tmp_path)
