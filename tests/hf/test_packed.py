"""Weights in four and eight bits, read as transformers reads them."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, Mxfp4Config

from lmkit.errors import UserError
from lmkit.hf.model import Model
from lmkit.hf.packed import FOUR_BITS, BlockFp8, Mxfp4
from tests.hf.peers import configured, logits_of, made, randomised, rows

MXFP4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
FP8 = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [16, 16]}
FILE, UP = "model.safetensors", "model.layers.0.self_attn.q_proj"


def as_mxfp4(tensor):
    """Codes and scales near a tensor (experts, rows, columns)."""
    blocks = tensor.mT.float().unflatten(-1, (-1, 32))
    power = (blocks.abs().amax(-1) / 6).log2().ceil()
    scaled = blocks / power.exp2()[..., None]
    nearest = (scaled.abs()[..., None] - torch.tensor(FOUR_BITS)).abs().argmin(-1) + 8 * (scaled < 0)
    return (nearest[..., ::2] | nearest[..., 1::2] << 4).to(torch.uint8), (power + 127).to(torch.uint8)


def as_fp8(tensor):
    """Codes and scales near a matrix whose sides are multiples of 16."""
    blocks = tensor.float().unflatten(0, (-1, 16)).unflatten(-1, (-1, 16))
    scales = blocks.abs().amax((1, 3)) / 448
    codes = blocks / scales[:, None, :, None]
    return codes.flatten(2).flatten(0, 1).to(torch.float8_e4m3fn), scales


def pack(folder, said, ends, packed):
    """Replaces the tensors of a folder that `packed` makes two of, by their names without `ends[0]`."""
    held = {}
    for name, tensor in load_file(folder / FILE).items():
        two = packed(name, tensor)
        names = [name.removesuffix(".weight") + end if two else name for end in ends]
        held |= dict(zip(names, two or (tensor.bfloat16(),), strict=False))
    save_file(held, folder / FILE, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": said, "dtype": "bfloat16"}))


@pytest.fixture
def gpt_oss(tmp_path):
    randomised(AutoModelForCausalLM.from_config(configured("gpt_oss", {"intermediate_size": 64}))).save_pretrained(
        tmp_path / "m"
    )
    pack(
        tmp_path / "m",
        MXFP4,
        ("_blocks", "_scales"),
        lambda name, tensor: as_mxfp4(tensor) if name.endswith("_proj") and tensor.dim() == 3 else None,
    )
    return tmp_path / "m"


@pytest.fixture
def llama(tmp_path):
    pack(
        made("llama", tmp_path / "m").folder,
        FP8,
        (".weight", ".weight_scale_inv"),
        lambda name, tensor: as_fp8(tensor) if "_proj" in name else None,
    )
    return tmp_path / "m"


def test_four_bits_are_unpacked_as_by_transformers(gpt_oss):
    unpacking = Mxfp4Config(dequantize=True)
    peer = AutoModelForCausalLM.from_pretrained(gpt_oss, quantization_config=unpacking, dtype=torch.bfloat16)
    compare(gpt_oss, peer.float())


def test_eight_bits_are_codes_times_scales(llama):
    """transformers unpacks them by the same product, but needs triton to do it."""
    held = load_file(llama / FILE)
    scales = {name: held.pop(name) for name in list(held) if name.endswith("_scale_inv")}
    assert len(scales) == 14
    for name, scale in scales.items():
        codes = held[name.removesuffix("_scale_inv")]
        held[name.removesuffix("_scale_inv")] = (codes.float() * scale.kron(torch.ones(16, 16))).bfloat16()
    config = json.loads((llama / "config.json").read_text())
    del config["quantization_config"]
    peer = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    assert not any(peer.load_state_dict(held, strict=True))
    compare(llama, peer.float())


def compare(folder, peer):
    """The network of a folder with a peer of the same weights."""
    model = Model(folder)
    network = model.build().eval()
    model.load_into(network)
    assert {tensor.dtype for tensor in model.tensors().values()} == {torch.bfloat16}
    with torch.no_grad():
        difference = network.logits(network(rows())) - logits_of(peer.eval(), rows())
    assert difference.abs().max() < 1e-5


def test_four_bits_are_what_the_ocp_says():
    codes = torch.arange(16, dtype=torch.uint8).repeat(2).view(1, 1, 1, 32)
    codes = codes[..., ::2] | codes[..., 1::2] << 4
    positive = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    for scale, factor in ((127, 1.0), (130, 8.0), (120, 2.0**-7), (1, 2.0**-126)):
        found = Mxfp4().unpacked(codes, torch.tensor([[[scale]]], dtype=torch.uint8))
        told = torch.tensor([*positive, *(-x for x in positive)] * 2) * factor
        assert torch.equal(found.float().flatten(), told)
    assert found.shape == (1, 32, 1)


def test_blocks_at_the_edge_are_smaller():
    packing = BlockFp8((4, 3))
    codes, scales = torch.randn(10, 7).to(torch.float8_e4m3fn), torch.rand(3, 3)
    assert packing.shape(codes.shape, scales.shape) == (10, 7)
    assert packing.shape(codes.shape, (2, 3)) is None
    found = packing.unpacked(codes, scales)
    for i in range(10):
        for j in range(7):
            assert found[i, j] == (codes[i, j].float() * scales[i // 4, j // 3]).bfloat16()


@pytest.mark.parametrize(
    ("scales", "told"),
    [
        (torch.ones(3, 2), "which is no fp8 matrix"),
        (torch.ones(2, 2, dtype=torch.uint8), "with scales of torch.uint8, which is no fp8"),
        (torch.full((2, 2), float("nan")), "NaN"),
        (None, "is of torch.float8_e4m3fn, but lmkit imports floating-point weights only"),
    ],
)
def test_scales_that_are_none_are_told(llama, scales, told):
    held = load_file(llama / FILE)
    del held[f"{UP}.weight_scale_inv"]
    save_file({**held, **({f"{UP}.weight_scale_inv": scales} if scales is not None else {})}, llama / FILE)
    with pytest.raises(UserError, match=told):
        Model(llama).tensors()


PEAK = """
import resource
import torch
from lmkit.hf.packed import Mxfp4

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

torch.set_num_threads(1)
codes, scales = torch.full((64, 512, 64, 16), 37, dtype=torch.uint8), torch.full((64, 512, 64), 127, dtype=torch.uint8)
Mxfp4().unpacked(codes[:1], scales[:1])  # with what is loaded once
before = peak()
whole = Mxfp4().unpacked(codes, scales)
print((peak() - before) / whole.nbytes)
"""


@pytest.mark.slow
def test_experts_are_unpacked_into_their_place():
    """128 MB of result, which is all that is held beside the codes and one expert."""
    said = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert float(said.stdout) < 1.3
