"""Folders that are broken, inconsistent or hostile: one clear line each, before anything is built or run."""

import json
import os
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmkit.errors import UserError
from lmkit.hf.model import Model
from lmkit.hf.start import start_from
from lmkit.hf.tables.families import family_of
from tests.hf.peers import made, rows

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
Q = "model.layers.0.self_attn.q_proj.weight"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@pytest.fixture
def folder(peer, tmp_path):
    """A sound Llama of one file, to be broken."""
    return Path(shutil.copytree(peer("llama").folder, tmp_path / "one"))


@pytest.fixture(scope="session")
def in_shards(tmp_path_factory):
    """A sound Llama of several files."""
    folder = tmp_path_factory.mktemp("shards")
    made("llama", folder, shard="20KB")
    return folder


@pytest.fixture
def shards(in_shards, tmp_path):
    """The same, to be broken."""
    return Path(shutil.copytree(in_shards, tmp_path / "several"))


def ropes(kind, **options):
    """Rope parameters of some type."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **options}}


FACTORS = {"short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
PART = ["partial_rotary_factor"]
TOP = ["original_max_position_embeddings"]
LONG = ropes("longrope", **FACTORS)


def refused(folder, *words, tensors=False, **options):
    """The line by which a folder is refused, which has all of these words."""
    before = {file: file.lstat().st_mtime_ns for file in Path(folder).parent.rglob("*")}
    with pytest.raises(UserError) as said:
        model = Model(folder, **options)
        assert tensors, "refused too late: the model was opened"
        model.tensors()
    line = str(said.value)
    assert "\n" not in line and len(line) < 700, line
    for word in words:
        assert word in line, line
    assert before == {file: file.lstat().st_mtime_ns for file in Path(folder).parent.rglob("*")}
    return line


def configured(folder, drop=(), **keys):
    """Changes config.json."""
    config = json.loads((folder / "config.json").read_text()) | keys
    (folder / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in drop}))


def stored(folder, drop=(), **tensors):
    """Changes the file of weights."""
    found = load_file(folder / WEIGHTS) | {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file({name: found[name] for name in found if name not in drop}, folder / WEIGHTS)


def listed(folder, **places):
    """Changes the index."""
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"] |= {name.replace("__", "."): place for name, place in places.items()}
    (folder / INDEX).write_text(json.dumps(index))


def shard_of(folder, name):
    return folder / json.loads((folder / INDEX).read_text())["weight_map"][name]


def test_a_sound_folder_is_taken(folder, shards):
    assert Model(folder).tensors().keys() == Model(shards).tensors().keys()


def test_no_folder(tmp_path):
    refused(tmp_path / "none", "no folder", "none")


def test_a_file_in_place_of_the_folder(folder):
    refused(folder / WEIGHTS, "no folder", WEIGHTS)


def test_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "config.json")


def test_a_folder_without_weights(folder):
    (folder / WEIGHTS).unlink()
    refused(folder, WEIGHTS)


def test_a_file_that_may_not_be_read(folder):
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()
    refused(folder, WEIGHTS)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1]", "holds a list"),
        ("null", "holds a NoneType"),
        ('"llama"', "holds a str"),
        (b"\xff\xfe{}", "not UTF-8"),
        ('{"model_type": "llama", "model_type": "gpt2"}', "twice"),
        ("[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["config.json", INDEX])
def test_json_that_is_none(shards, name, text, word):
    (shards / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(shards, name, word)


def test_no_config(folder):
    (folder / "config.json").unlink()
    refused(folder, "no config.json", str(folder))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model_type": "lama"}, ["model_type: 'lama'", "did you mean llama"]),
        ({"model_type": "bert"}, ["model_type: 'bert'", "it knows gpt2"]),
        ({"model_type": None}, ["model_type: None"]),
        ({"model_type": "gemma3"}, ["model_type: 'gemma3'", "Gemma3ForCausalLM"]),
        ({"a\nb\x1b[31m": 1}, [r"'a\nb\x1b[31m': 1"]),
        ({"numbers": [0.5] * 5000}, ["numbers: [0.5, 0.5, ", " ... "]),
        ({"layer_types": None, "hidden_act": "s" * 5000}, ["hidden_act: 'sss", "only 'silu'"]),
        ({"model_type": ["llama"]}, ["model_type: ['llama']"]),
        ({"model_type": {}}, ["model_type: {}"]),
        ({"model_type": 3}, ["model_type: 3"]),
        (ropes("dynamic", factor=2.0), ["rope_type: 'dynamic'", "llama3"]),
        ({"rope_parameters": None, "rope_scaling": {"type": "ntk"}}, ["rope_type: 'ntk'"]),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "sections": [1]}}, ["sections"]),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}}, ["no factor", "'linear'"]),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": "4"}}, ["factor"]),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 0}}, ["factor"]),
        ({"rope_parameters": {"rope_type": ["linear"], "rope_theta": 1e4}}, ["rope_type"]),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": None}}, ["rope_theta"]),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": "1e4"}}, ["rope_theta"]),
        (ropes("yarn", factor=4.0, original_max_position_embeddings="4"), ["original_max_position_embeddings: '4'"]),
        ({"rope_parameters": [1]}, ["rope_parameters"]),
        ({"rope_parameters": "default"}, ["rope_parameters"]),
        ({"rope_theta": "x", "rope_parameters": None}, ["rope_theta"]),
        ({"partial_rotary_factor": 0.5}, ["partial_rotary_factor"]),
        ({"head_dim_of_values": 3}, ["head_dim_of_values: 3", "llama"]),
        ({"hidden_act": "gelu"}, ["hidden_act: 'gelu'", "'silu'"]),
        ({"hidden_act": ["silu"]}, ["hidden_act"]),
        ({"attention_bias": "yes"}, ["attention_bias"]),
        ({"hidden_size": "32"}, ["hidden_size: '32'"]),
        ({"hidden_size": 32.5}, ["hidden_size: 32.5"]),
        ({"hidden_size": True}, ["hidden_size: True"]),
        ({"hidden_size": [32]}, ["hidden_size: [32]"]),
        ({"hidden_size": -32}, ["hidden_size"]),
        ({"hidden_size": 0}, ["0"]),
        ({"hidden_size": None}, ["no hidden_size"]),
        ({"num_hidden_layers": "2"}, ["num_hidden_layers: '2'"]),
        ({"num_hidden_layers": 2.5}, ["num_hidden_layers"]),
        ({"num_hidden_layers": 0}, ["0"]),
        ({"num_hidden_layers": -1}, ["-1"]),
        ({"num_hidden_layers": 3}, ["lacks model.layers.2."]),
        ({"num_hidden_layers": 1}, ["holds model.layers.1."]),
        ({"num_attention_heads": 0}, ["num_attention_heads"]),
        ({"num_attention_heads": "4"}, ["num_attention_heads: '4'"]),
        ({"num_attention_heads": 3}, ["3"]),
        ({"num_key_value_heads": 3}, ["3"]),
        ({"num_key_value_heads": 0}, ["0"]),
        ({"num_attention_heads": 64, "head_dim": None}, ["64 heads", "32"]),
        ({"num_attention_heads": 10**30}, ["num_attention_heads: 1000"]),
        (ropes("linear", factor=10**400), ["factor", "above 0"]),
        ({"num_key_value_heads": "2"}, ["num_key_value_heads: '2'"]),
        ({"head_dim": "8"}, ["head_dim: '8'"]),
        ({"head_dim": 7}, ["7"]),
        ({"intermediate_size": None}, ["no intermediate_size"]),
        ({"intermediate_size": [48]}, ["intermediate_size: [48]"]),
        ({"rms_norm_eps": "1e-6"}, ["rms_norm_eps: '1e-6'"]),
        ({"rms_norm_eps": float("nan")}, ["rms_norm_eps: nan"]),
        ({"rms_norm_eps": [1e-6]}, ["rms_norm_eps"]),
        ({"tie_word_embeddings": "false"}, ["tie_word_embeddings: 'false'"]),
        ({"vocab_size": 63}, ["(64, 32)", "(63, 32)"]),
        ({"max_position_embeddings": "64"}, ["max_position_embeddings: '64'"]),
        ({"quantization_config": {"quant_method": "fp8"}}, ["quantization_config (fp8)"]),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 0]}}, ["(fp8)"]),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [8, 8], "fmt": "e5m2"}}, ["(fp8)"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config (unknown)"]),
        ({"quantization_config": {"quant_method": "mxfp4"}}, ["(mxfp4), but no tensor is packed so"]),
        ({"num_hidden_layers": 10**7}, ["10000000 layers"]),
        ({"num_hidden_layers": 900}, ["900 layers", "tensors"]),
        ({"quantization_config": "gptq"}, ["quantization_config (gptq)"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_config_that_says_what_cannot_be(folder, keys, words):
    configured(folder, **keys)
    refused(folder, *words)


@pytest.mark.parametrize(
    "key",
    ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"],
)
def test_a_key_that_is_needed_and_missing(folder, key):
    configured(folder, drop=[key])
    refused(folder, f"no {key}")


@pytest.mark.parametrize(
    ("family", "keys", "words"),
    [
        ("qwen2", {"layer_types": ["full_attention"]}, ["layer_types", "4 layers"]),
        ("qwen2", {"layer_types": ["full_attention"] * 3 + ["chunked_attention"]}, ["chunked_attention"]),
        ("qwen2", {"layer_types": [["full_attention"]] * 4}, ["layer_types"]),
        ("qwen2", {"layer_types": 4}, ["layer_types"]),
        ("qwen2", {"layer_types": None, "max_window_layers": "2"}, ["max_window_layers"]),
        ("qwen2", {"sliding_window": "8"}, ["sliding_window: '8'"]),
        ("qwen2", {"sliding_window": 0}, ["0"]),
        ("gemma3_text", {"rope_parameters": {"full_attention": 3, "sliding_attention": {}}}, ["rope_parameters"]),
        ("gemma3_text", {"attn_logit_softcapping": 3.0}, ["attn_logit_softcapping: 3.0"]),
        ("gemma3_text", {"layer_types": None, "sliding_window_pattern": "2"}, ["sliding_window_pattern"]),
        ("gemma2", {"query_pre_attn_scalar": 0}, ["query_pre_attn_scalar"]),
        ("gemma2", {"query_pre_attn_scalar": "5"}, ["query_pre_attn_scalar: '5'"]),
        ("gemma2", {"final_logit_softcapping": "30"}, ["final_logit_softcapping: '30'"]),
        ("smollm3", {"no_rope_layers": [1, 0]}, ["no_rope_layers", "4"]),
        ("smollm3", {"no_rope_layers": 3}, ["no_rope_layers"]),
        ("smollm3", {"no_rope_layers": None, "no_rope_layer_interval": "4"}, ["no_rope_layer_interval"]),
        ("smollm3", {"layer_types": None, "no_rope_layers": 3}, ["no_rope_layers: 3"]),
        (
            "smollm3",
            {"layer_types": None, "no_rope_layers": None, "no_rope_layer_interval": "4"},
            ["no_rope_layer_interval: '4'"],
        ),
        ("qwen3_moe", {"mlp_only_layers": 1}, ["mlp_only_layers"]),
        ("qwen3_moe", {"decoder_sparse_step": 0}, ["decoder_sparse_step"]),
        ("qwen3_moe", {"num_experts": 3}, ["(4, 32)", "(3, 32)"]),
        ("qwen3_moe", {"num_experts": "4"}, ["num_experts: '4'"]),
        ("qwen3_moe", {"num_experts_per_tok": 9}, ["9"]),
        ("mixtral", {"num_local_experts": 5}, ["lacks model.layers.0.block_sparse_moe.experts.4."]),
        ("deepseek_v3", {"first_k_dense_replace": "1"}, ["first_k_dense_replace"]),
        ("deepseek_v3", {"topk_method": "greedy"}, ["topk_method: 'greedy'", "'noaux_tc'"]),
        ("deepseek_v3", {"scoring_func": "softmax"}, ["scoring_func: 'softmax'"]),
        ("deepseek_v3", {"rope_interleave": False}, ["rope_interleave: False"]),
        ("deepseek_v3", {"num_nextn_predict_layers": "1"}, ["num_nextn_predict_layers: '1'"]),
        ("qwen2", {"num_nextn_predict_layers": 1}, ["num_nextn_predict_layers: 1"]),
        ("deepseek_v3", {"n_group": 3}, ["3"]),
        ("deepseek_v3", {"num_key_value_heads": None, "num_attention_heads": None}, ["no num_attention_heads"]),
        ("deepseek_v3", {"num_key_value_heads": None, "num_attention_heads": "4"}, ["num_attention_heads: '4'"]),
        ("deepseek_v3", ropes("yarn", factor=4.0, mscale="1", mscale_all_dim=1.0), ["mscale: '1'"]),
        ("deepseek_v3", ropes("yarn", factor=4.0, mscale=1.0, mscale_all_dim="1"), ["mscale_all_dim: '1'"]),
        ("deepseek_v3", ropes("yarn", factor=4.0, mscale=1.0, mscale_all_dim=[1.0]), ["mscale_all_dim: [1.0]"]),
        ("deepseek_v3", ropes("yarn", factor=4.0, mscale=1.0, mscale_all_dim=-8.0), ["mscale_all_dim: -8.0"]),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, ["scale_attn_by_inverse_layer_idx: True"]),
        ("gpt2", {"add_cross_attention": True}, ["add_cross_attention: True"]),
        ("gpt2", {"n_head": 5}, ["(32, 96)", "(32, 90)"]),
        ("gpt_oss", {"swiglu_limit": 5.0}, ["swiglu_limit: 5.0"]),
        ("phi3", ropes("yarn", factor=4.0), ["rope_type: 'yarn'", "longrope"]),
        ("phi3", ropes("longrope", short_factor=[1.0], long_factor=[1.0]), ["short"]),
        ("phi3", {"partial_rotary_factor": "0.5"}, ["partial_rotary_factor"]),
        ("phi3", ropes("default", partial_rotary_factor=1e308) | dict.fromkeys(PART), ["partial_rotary_factor: 1e"]),
        ("deepseek_v3", ropes("longrope", **FACTORS, mscale_all_dim=1.0), ["mscale_all_dim", "without a factor"]),
        ("phi3", {"original_max_position_embeddings": "4096", **LONG}, ["original_max_position_embeddings: '4096'"]),
        ("phi3", {"original_max_position_embeddings": [4096], **LONG}, ["original_max_position_embeddings: [4096]"]),
        ("phi3", {"original_max_position_embeddings": 1, **LONG}, ["original_max_position_embeddings: 1"]),
        (
            "phi3",
            ropes("longrope", **FACTORS, original_max_position_embeddings=1) | dict.fromkeys(TOP),
            ["original_max_position_embeddings: 1", "above 1"],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_config_of_another_family_that_says_what_cannot_be(peer, tmp_path, family, keys, words):
    folder = Path(shutil.copytree(peer(family).folder, tmp_path / "one"))
    configured(folder, **keys)
    refused(folder, *words)


def test_a_shard_that_is_missing(shards):
    shard_of(shards, Q).unlink()
    refused(shards, "missing", INDEX)


@pytest.mark.parametrize("left", [0, 4, 8, 100, 2000, -1, -100])
def test_a_shard_that_is_cut_off(shards, left):
    file = shard_of(shards, Q)
    os.truncate(file, left if left >= 0 else file.stat().st_size + left)
    refused(shards, file.name, "truncated")


@pytest.mark.parametrize("data", [b"not a file of tensors at all" * 9, (2**62).to_bytes(8, "little") + b"{}" * 99])
def test_a_file_of_something_else(folder, data):
    (folder / WEIGHTS).write_bytes(data)
    refused(folder, WEIGHTS, "no safetensors file")


ELSEWHERE = ["../away.safetensors", "{}/away.safetensors", "..", ".", "", "/", "a/../../away.safetensors"]


@pytest.mark.parametrize("place", ELSEWHERE)
def test_an_index_that_names_a_file_elsewhere(shards, place):
    outside = shards.parent / "away.safetensors"
    shutil.copy(shard_of(shards, Q), outside)
    place = place.format(shards.parent)
    listed(shards, **{Q.replace(".", "__"): place})
    refused(shards, INDEX, f"{place!r}", "not in its folder")


@pytest.mark.parametrize("place", ["a" * 300 + ".safetensors", "a\0b"])
def test_an_index_that_names_a_file_as_none_can_be_called(shards, place):
    listed(shards, **{Q.replace(".", "__"): place})
    refused(shards, INDEX, "is missing")


@pytest.mark.parametrize("name", ["config.json", INDEX])
def test_a_link_that_leads_to_itself(shards, name):
    (shards / name).unlink()
    (shards / name).symlink_to(name)
    refused(shards, name, "leads to itself")


@pytest.mark.parametrize("places", [[], None, "a", {"a": 3}, {"a": None}, {"a": ["b"]}])
def test_an_index_without_a_map(shards, places):
    (shards / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    refused(shards, INDEX, "weight_map")


def test_an_index_that_is_empty(shards):
    (shards / INDEX).write_text(json.dumps({"weight_map": {}}))
    refused(shards, "2 layers, but its files hold 0 tensors")


def test_an_index_that_names_a_file_without_the_tensor(shards):
    other = next(file for file in shards.glob("*.safetensors") if file != shard_of(shards, Q))
    listed(shards, **{Q.replace(".", "__"): other.name})
    refused(shards, INDEX, Q, other.name)


def test_an_index_of_a_tensor_that_is_nowhere(shards):
    listed(shards, more=shard_of(shards, Q).name)
    refused(shards, INDEX, "more", "but in none")


def test_a_tensor_that_the_index_does_not_list(shards):
    index = json.loads((shards / INDEX).read_text())
    place = index["weight_map"].pop(Q)
    (shards / INDEX).write_text(json.dumps(index))
    assert Q in load_file(shards / place)
    refused(shards, INDEX, Q)


def test_a_tensor_in_two_files(shards):
    held = load_file(shard_of(shards, Q))
    other = next(file for file in shards.glob("*.safetensors") if file != shard_of(shards, Q))
    save_file(load_file(other) | {Q: held[Q] + 1}, other)
    line = refused(shards, Q)  # whichever of them the index names
    assert " and in ".join(sorted([other.name, shard_of(shards, Q).name])) in line


def test_a_tensor_of_another_shape(folder):
    stored(folder, **{Q: torch.zeros(32, 31)})
    refused(folder, Q, "(32, 31)", "(32, 32)")


def test_a_tensor_of_the_same_size_but_turned(folder):
    name = "model.layers.1.mlp.up_proj.weight"
    stored(folder, **{name: torch.zeros(32, 48)})
    refused(folder, name, "(32, 48)", "(48, 32)")


def test_a_tensor_too_much(folder):
    stored(folder, **{"model.layers.0.self_attn.q_proj.lora_A": torch.zeros(2)})
    refused(folder, "q_proj.lora_A", "llama")


def test_a_tensor_whose_name_steers_a_terminal(folder):
    stored(folder, **{"\x1b[31m" + "a" * 300: torch.zeros(2)})
    assert "\x1b" not in refused(folder, r"'\x1b[31maaa", "llama")


def test_biases_that_the_config_does_not_tell(folder):
    stored(folder, **{Q.replace("weight", "bias"): torch.zeros(32)})
    refused(folder, "q_proj.bias")


LATER = "model.layers.3.eh_proj.weight"  # of three layers the one after the last


def of_later_tokens(peer, folder, layers):
    """A tiny DeepSeek whose files hold one layer more, which guesses later tokens."""
    shutil.copytree(peer("deepseek_v3").folder, folder)
    stored(folder, **{LATER: torch.ones(32, 64)})
    configured(folder, num_nextn_predict_layers=layers)
    return folder


def test_a_layer_for_later_tokens_is_left_out_and_told(peer, tmp_path):
    model, whole = Model(of_later_tokens(peer, tmp_path / "more", 1)), Model(peer("deepseek_v3").folder)
    (note,) = model.notes
    assert "num_nextn_predict_layers: 1" in note and not whole.notes
    assert start_from(model.folder.path).notes == (note,)
    mine, theirs = model.tensors(), whole.tensors()
    assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in theirs)
    family, config = family_of(model.anatomy, model.folder.config)
    assert family is model.family and "num_nextn_predict_layers" not in config
    assert config == whole.folder.config


@pytest.mark.parametrize("layers", [0, None])
def test_a_layer_for_later_tokens_that_the_config_does_not_tell(peer, tmp_path, layers):
    refused(of_later_tokens(peer, tmp_path / "more", layers), LATER, "deepseek_v3")


def test_a_tensor_too_few(folder):
    stored(folder, drop=[Q])
    refused(folder, "lacks", Q)


def test_a_head_too_few(folder):
    stored(folder, drop=[HEAD])
    refused(folder, "lacks", HEAD)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none(folder, dtype, number):
    tensor = torch.ones(32, 32, dtype=dtype)
    tensor[3, 5] = number
    stored(folder, **{Q: tensor})
    refused(folder, Q, "NaN", tensors=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_large_numbers_are_numbers(folder, dtype):
    large = torch.full((32, 32), torch.finfo(dtype).max, dtype=dtype)
    stored(folder, **{Q: large})
    assert torch.equal(Model(folder).tensors()["blocks.0.attention.q.weight"], large)


QUANTIZED = [torch.int8, torch.uint8, torch.int64, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", QUANTIZED)
def test_weights_that_are_no_floating_point_numbers(folder, dtype):
    stored(folder, **{Q: torch.ones(32, 32).to(dtype)})
    refused(folder, Q, str(dtype), "quantized", tensors=True)


def test_experts_of_several_dtypes(peer, tmp_path):
    folder = Path(shutil.copytree(peer("mixtral").folder, tmp_path / "one"))
    name = "model.layers.1.block_sparse_moe.experts.{}.w3.weight"
    stored(folder, **{name.format(2): load_file(folder / WEIGHTS)[name.format(2)].double()})
    refused(folder, name.format(0), name.format(2), "float64", "float32", tensors=True)


def test_a_tied_head_that_is_stored_all_the_same(folder):
    configured(folder, tie_word_embeddings=True)
    stored(folder, **{HEAD: load_file(folder / WEIGHTS)[EMBEDDING].clone()})
    assert "head.weight" not in Model(folder).tensors()


@pytest.mark.parametrize("head", [torch.zeros(64, 32), torch.zeros(63, 32), torch.zeros(64, 32).bfloat16()])
def test_a_tied_head_that_differs(folder, head):
    configured(folder, tie_word_embeddings=True)
    stored(folder, **{HEAD: head})
    refused(folder, HEAD, EMBEDDING, "tie_word_embeddings")


def test_links_as_in_the_cache_of_a_hub(shards, tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(shards.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    mine, theirs = Model(snapshot).tensors(), Model(shards).tensors()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


class Hostile:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.fixture
def pickled(folder):
    """The same weights as a pickle."""
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    return folder


def test_a_pickle_is_read_when_it_is_allowed_only(pickled, peer):
    refused(pickled, "pytorch_model.bin", f"lmkit import {pickled} OUT --allow-pickle")
    model = Model(pickled, allow_pickle=True)
    network = model.build().eval()
    model.load_into(network)
    with torch.no_grad():
        torch.testing.assert_close(network.logits(network(rows())), peer("llama").logits, rtol=0, atol=1e-5)


def test_a_pickle_of_before_zip_files_is_read_too(pickled, peer):
    held = torch.load(pickled / "pytorch_model.bin")
    (pickled / "pytorch_model.bin").rename(pickled.parent / "new.bin")  # which is mapped
    whole = Model(peer("llama").folder).tensors()
    torch.save(held, pickled / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    old = Model(pickled, allow_pickle=True).tensors()
    assert old.keys() == whole.keys() and all(torch.equal(old[name], whole[name]) for name in whole)


def test_code_in_a_pickle_of_before_zip_files_is_not_run(pickled, tmp_path):
    held = torch.load(pickled / "pytorch_model.bin") | {Q: Hostile(tmp_path / "was-run")}
    torch.save(held, pickled / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    refused(pickled, "pytorch_model.bin", "more than tensors", allow_pickle=True)
    assert not (tmp_path / "was-run").exists()


def test_safetensors_go_before_a_pickle(folder):
    (folder / "pytorch_model.bin").write_bytes(b"nothing that could be read")
    for allowed in (False, True):
        assert Model(folder, allow_pickle=allowed).tensors()


@pytest.mark.parametrize("form", ["torch", "plain", "in a list"])
def test_code_in_a_pickle_is_not_run(pickled, tmp_path, form):
    mark, file = tmp_path / "was-run", pickled / "pytorch_model.bin"
    held = torch.load(file) | {Q: Hostile(mark)}
    if form == "torch":
        torch.save(held, file)
    else:
        file.write_bytes(pickle.dumps(held if form == "plain" else [Hostile(mark)]))
    refused(pickled, "pytorch_model.bin", "more than tensors", allow_pickle=True)
    assert not mark.exists()
    with file.open("rb") as stream:  # and it would have been by another reader
        torch.load(stream, weights_only=False) if form == "torch" else pickle.load(stream)
    assert mark.exists()


@pytest.mark.parametrize("left", [0, 10, 500, 3000, -1, -60])
def test_a_pickle_that_is_cut_off(pickled, left):
    file = pickled / "pytorch_model.bin"
    os.truncate(file, left if left >= 0 else file.stat().st_size + left)
    refused(pickled, file.name, "truncated", allow_pickle=True)


@pytest.mark.parametrize("held", [[1], {"a": 3}, torch.zeros(3), {"model": {"a": torch.zeros(2)}}, {3: torch.zeros(2)}])
def test_a_pickle_of_something_else(pickled, held):
    torch.save(held, pickled / "pytorch_model.bin")
    refused(pickled, "something else than tensors by name", allow_pickle=True)


@pytest.mark.parametrize("place", ["../away.bin", "/etc/passwd"])
def test_an_index_of_pickles_stays_in_its_folder_too(pickled, place):
    (pickled / "pytorch_model.bin").unlink()
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {Q: place}}))
    refused(pickled, "--allow-pickle")
    refused(pickled, "not in its folder", allow_pickle=True)


def test_code_that_lies_in_a_folder_is_never_imported(folder, tmp_path):
    mark = tmp_path / "was-run"
    for name in ("modeling_llama.py", "configuration_llama.py", "__init__.py", "sitecustomize.py"):
        (folder / name).write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    configured(folder, auto_map={"AutoConfig": "configuration_llama.C", "AutoModelForCausalLM": "modeling_llama.M"})
    before = [*sys.path]
    assert Model(folder).tensors()
    assert not mark.exists() and sys.path == before
