"""GGUF files read back by the package `gguf`, tensors and keys, and what is refused before anything is written."""

import sys

import numpy as np
import pytest
import torch

from lmkit.errors import UserError
from lmkit.hf.gguf import Gguf, Kind
from lmkit.hf.gguf.architecture import chosen
from lmkit.hf.gguf.architectures import ARCHITECTURES
from lmkit.hf.tables.families import FAMILIES
from lmkit.hf.weights import Ties
from tests.hf.gguf_files import keys_of, tensors_of, written
from tests.hf.gguf_networks import CONFIGS, anatomy, network

gguf = pytest.importorskip("gguf")

TURNED = ("llama", "smollm3")
KINDS: tuple[Kind, ...] = ("f32", "f16", "q8_0")


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "olmo2", "olmo3", "stablelm", "llama-biases", "gemma2", "smollm3"])
def test_tensors_have_the_names_and_numbers_that_the_package_gives_those_of_hugging_face(tmp_path, name):
    parts, made, reader = written(tmp_path, name, "f32")
    family, architecture, _ = CONFIGS[name]
    number = next(key for key, value in gguf.MODEL_ARCH_NAMES.items() if value == architecture)
    names = gguf.get_tensor_name_map(number, parts.whole["depth"])
    found = tensors_of(reader)
    shapes = made.state_dict()
    for theirs, tensor in Ties(FAMILIES[family], parts, shapes).write(shapes):
        ours = found.pop(names.get_name(theirs, try_suffixes=(".weight", ".bias")))
        expected = tensor.numpy()
        if any(f".{part}_proj." in theirs for part in "qk") and architecture in TURNED:
            heads = parts.whole["heads"] if ".q_proj." in theirs else parts.layers[0]["attention.kv_heads"]
            expected = side_by_side(expected, heads)
        if architecture == "gemma2" and "norm" in theirs:
            expected = expected + 1
        np.testing.assert_array_equal(ours, expected)
    assert set(found) <= {"output.weight"}


def side_by_side(rows: np.ndarray, heads: int) -> np.ndarray:
    """Of each head the rows i and i + K / 2 next to each other."""
    width = len(rows) // heads
    order = [head * width + i + half for head in range(heads) for i in range(width // 2) for half in (0, width // 2)]
    return rows[order]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "gpt_oss"])
def test_numbers_are_those_of_float32_but_for_their_kind(tmp_path, name):
    full, half, eighth = (tensors_of(written(tmp_path, name, kind)[2]) for kind in KINDS)
    kinds = {tensor.name: tensor.tensor_type for tensor in written(tmp_path, name, "q8_0")[2].tensors}
    assert gguf.GGMLQuantizationType.Q8_0 in kinds.values()
    for tensor, numbers in full.items():
        kept = numbers.ndim == 1 or tensor.endswith((".bias", "gate_inp.weight"))
        np.testing.assert_array_equal(half[tensor], numbers if kept else numbers.astype(np.float16))
        if kinds[tensor] == gguf.GGMLQuantizationType.Q8_0:
            expected = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType.Q8_0)
            expected = gguf.quants.dequantize(expected, gguf.GGMLQuantizationType.Q8_0)
            np.testing.assert_array_equal(eighth[tensor], expected)
            assert np.abs(eighth[tensor] - numbers).max() < np.abs(numbers).max() / 200
        else:
            np.testing.assert_array_equal(eighth[tensor], half[tensor])


@pytest.mark.parametrize("name", CONFIGS)
def test_a_network_is_its_architecture_and_its_keys_are_all_there(tmp_path, name):
    parts, made, reader = written(tmp_path, name, "q8_0")
    architecture = CONFIGS[name][1]
    keys = keys_of(reader)
    assert keys["general.architecture"] == architecture
    assert keys["general.name"] == "a model"
    assert keys["general.file_type"] == 7
    assert keys[f"{architecture}.block_count"] == parts.whole["depth"]
    assert keys[f"{architecture}.context_length"] == 64
    assert keys[f"{architecture}.vocab_size"] == 96
    counted = sum(tensor.numel() for tensor in made.state_dict().values())
    more = sum(int(t.n_elements) for t in reader.tensors if t.name.startswith("rope_"))
    if parts.whole["tied"] and any(tensor.name == "output.weight" for tensor in reader.tensors):
        more += parts.whole["vocab_size"] * parts.whole["dim"]
    assert sum(int(tensor.n_elements) for tensor in reader.tensors) == counted + more


def test_keys_of_windows_rotation_and_experts_are_the_networks(tmp_path):
    keys = keys_of(written(tmp_path, "gemma3", "f32")[2])
    assert keys["gemma3.attention.sliding_window"] == 8
    assert keys["gemma3.attention.sliding_window_pattern"] == [True] * 5 + [False]
    assert (keys["gemma3.rope.freq_base"], keys["gemma3.rope.freq_base_swa"]) == (1e6, 1e4)
    assert (keys["gemma3.rope.scaling.type"], keys["gemma3.rope.scaling.factor"]) == ("linear", 4.0)
    keys = keys_of(written(tmp_path, "deepseek_v3-yarn", "f32")[2])
    assert keys["deepseek2.rope.scaling.yarn_log_multiplier"] == pytest.approx(0.07)
    assert (keys["deepseek2.expert_count"], keys["deepseek2.expert_used_count"]) == (8, 2)
    assert keys["deepseek2.leading_dense_block_count"] == 1
    assert keys["deepseek2.attention.head_count_kv"] == 1
    keys = keys_of(written(tmp_path, "llama-yarn-amplitude", "f32")[2])
    assert keys["llama.rope.scaling.attn_factor"] == pytest.approx(1.5 / (0.1 * np.log(4) + 1))


REFUSED = [
    ("mistral", {"sliding_window": 8}, "attention.window is 8"),
    ("gemma2", {"query_pre_attn_scalar": 5}, "attention.scale is"),
    ("gemma2", {"final_logit_softcapping": None}, "soft_cap of logits"),
    ("qwen3_moe", {"norm_topk_prob": False}, "feed_forward.router.normalise is False"),
    ("qwen3_moe", {"mlp_only_layers": [0]}, "feed_forward"),
    ("smollm3", {"no_rope_layers": [1, 0, 1, 0]}, "position is"),
    ("smollm3", {"attention_bias": True}, "attention.out_bias is True"),
    ("stablelm", {"qk_layernorm": True}, "attention.qk_norm is 'LayerNorm'"),
    ("deepseek_v3", {"q_lora_rank": None}, "latent of queries"),
    ("olmo3", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "several positions"),
    ("gpt2", {"activation_function": "relu"}, "activation is 'ReLU'"),
    ("phi3-longrope", {"sliding_window": 8}, "attention.window is 8"),
]


@pytest.mark.parametrize(("name", "changed", "reason"), REFUSED)
def test_what_llama_cpp_computes_otherwise_is_refused_in_one_line(name, changed, reason):
    parts = anatomy(name, **changed)
    made = network(parts)
    with pytest.raises(UserError, match=reason) as raised:
        Gguf(parts, made.state_dict(), None, "x")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "depth"), [("gemma2", 46), ("gemma3", 62)])
def test_the_largest_gemmas_scale_by_the_streams_width(name, depth):
    parts = anatomy(name, num_hidden_layers=depth, query_pre_attn_scalar=64 // 4)  # whose heads are 32 wide
    assert chosen(parts, ARCHITECTURES)[0].name == name
    with pytest.raises(UserError, match=r"attention\.scale is"):
        chosen(anatomy(name, num_hidden_layers=depth), ARCHITECTURES)


def test_a_ramp_at_no_whole_pairs_is_refused():
    rope = dict(CONFIGS["gpt_oss"][2]["rope_parameters"], truncate=False)
    parts = anatomy("gpt_oss", rope_parameters=rope)
    with pytest.raises(UserError, match="whole pairs"):
        Gguf(parts, network(parts).state_dict(), None, "x")


@pytest.mark.parametrize(
    ("name", "remark"), [("gpt_neox", "tanh form"), ("gpt_neox-in-turn", None), ("phi3-longrope", "by the context")]
)
def test_what_llama_cpp_computes_a_little_otherwise_is_said(name, remark):
    parts = anatomy(name)
    remarks = Gguf(parts, network(parts).state_dict(), None, "x").remarks
    assert [remark in said for said in remarks] == [True] * bool(remark)


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    parts = anatomy("llama")
    made = network(parts)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"what was there")
    with torch.no_grad():
        made.blocks[-1].feed_forward.out.weight[0, 0] = 1e6
    model = Gguf(parts, made.state_dict(), None, "x")
    with pytest.raises(UserError, match="beyond 65504"):
        model.write(file, "f16")
    assert file.read_bytes() == b"what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
    model.write(file, "f32")
    assert file.read_bytes()[:4] == b"GGUF"
    with pytest.raises(UserError, match="cannot write"):
        model.write(tmp_path / "no folder" / "model.gguf", "f32")


def test_weights_of_bfloat16_are_written_as_they_are(tmp_path):
    parts = anatomy("llama")
    made = network(parts).bfloat16()
    Gguf(parts, made.state_dict(), None, "x").write(tmp_path / "model.gguf", "f32")
    found = tensors_of(gguf.GGUFReader(tmp_path / "model.gguf"))["token_embd.weight"]
    np.testing.assert_array_equal(found, made.embedding.weight.detach().float().numpy())


def test_without_the_package_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    parts = anatomy("llama")
    model = Gguf(parts, network(parts).state_dict(), None, "x")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match="pip install 'lmkit\\[gguf\\]'"):
        model.write(tmp_path / "model.gguf", "f16")
    assert not list(tmp_path.iterdir())
