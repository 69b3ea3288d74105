"""Every family in and out, against transformers: the same logits, then the same bytes and a config of one meaning."""

import json
from collections.abc import Callable
from functools import cache

import pytest
import torch
from safetensors.torch import save_file

from lmkit.errors import UserError
from lmkit.hf.model import Model
from lmkit.hf.tables.anatomy import anatomy_of, recipe_of
from lmkit.hf.tables.entry import NotOfFamily
from lmkit.hf.tables.families import FAMILIES
from lmkit.hf.weights import Ties
from lmkit.inference import Sampler, generate
from lmkit.network import Network
from lmkit.registry import build
from tests.hf.forms import CONFIGS, TENSORS, without
from tests.hf.peers import configured, loaded, logits_of, made, rewritten, rows
from tests.hf.variants import PEERS, ROW

CLOSE = 1e-5
OF_EACH = [pytest.param(name, marks=() if name in FAMILIES else pytest.mark.slow) for name in PEERS]
"""One peer of each family is fast."""
LONGROPE = "phi3 of 128k"  # a text is rotated by how far it reaches, so that pieces of it are not rotated alike


def imported(folder):
    """The network of a folder, with its weights."""
    model = Model(folder)
    network = model.build().eval()
    model.load_into(network)
    return model, network


@torch.no_grad()
def ours(network, tokens):
    """Logits (B, T, V), read at once."""
    return network.logits(network(tokens))


@torch.no_grad()
def in_pieces(network, tokens, sizes):
    """The same with a cache, read piece after piece."""
    kept = network.cache()
    return torch.cat([network.logits(network(piece, cache=kept)) for piece in tokens.split(sizes, dim=1)], dim=1)


def exported(model, family, tensors, folder):
    """What a family makes of a network, read by transformers."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(family.write(model.anatomy)))
    written = dict(Ties(family, model.anatomy, tensors).write(tensors))
    save_file(written, folder / "model.safetensors", metadata={"format": "pt"})
    return written


@pytest.fixture(scope="session")
def imports(peer):
    """The same of one of `PEERS`, each made once."""
    return cache(lambda name: imported(peer(name).folder))


def test_every_family_has_a_peer():
    assert {family for family, _ in PEERS.values()} == {*FAMILIES}


@pytest.mark.parametrize("name", OF_EACH)
def test_logits_of_a_folder_are_those_of_transformers(peer, imports, name):
    model, network = imports(name)
    assert model.family.name == PEERS[name][0]
    torch.testing.assert_close(ours(network, rows()), peer(name).logits, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", [each for each in OF_EACH if each.values[0] != LONGROPE])
def test_with_a_cache_they_are_the_same(peer, imports, name):
    found = in_pieces(imports(name)[1], rows(), [13, 1, 1, 9, 1, 15])
    torch.testing.assert_close(found, peer(name).logits, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", FAMILIES)
def test_token_by_token_they_are_the_same(peer, imports, name):
    found = in_pieces(imports(name)[1], rows(), [1] * ROW)
    torch.testing.assert_close(found, peer(name).logits, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("length", [10, 20])
def test_longrope_is_the_same_on_either_side_of_its_original_context(peer, imports, length):
    tokens = rows()[:, :length]
    expected = logits_of(peer(LONGROPE).model, tokens)
    torch.testing.assert_close(ours(imports(LONGROPE)[1], tokens), expected, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["gemma3_text", "gpt_oss", "deepseek_v3 with yarn", "qwen3_moe with a window"])
def test_greedy_text_is_that_of_transformers(peer, imports, name):
    prompt = rows()[:, :9]  # in which a token of padding is one like any other
    theirs = peer(name).model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False, eos_token_id=None
    )
    mine = torch.stack([*generate(imports(name)[1], prompt, Sampler(temperature=0.0), 24)], dim=1)
    assert torch.equal(mine, theirs[:, prompt.size(1) :])


@pytest.mark.parametrize("name", OF_EACH)
def test_what_is_written_back_is_equal_byte_for_byte_and_means_the_same(peer, imports, name, tmp_path):
    one, (model, _) = peer(name), imports(name)
    written = exported(model, model.family, model.tensors(), tmp_path / "out")
    assert written.keys() == one.tensors.keys()
    for key, tensor in one.tensors.items():
        assert written[key].dtype == tensor.dtype and torch.equal(written[key], tensor), key
    again = loaded(tmp_path / "out")
    assert torch.equal(logits_of(again, rows()), one.logits)
    assert_same_config(again.config, one.model.config)


TOLD_ELSEWHERE = {
    "_name_or_path": "nothing",
    "bos_token_id": "the tokenizer's",
    "eos_token_id": "the tokenizer's",
    "pad_token_id": "the tokenizer's",
    "dtype": "the tensors'",
    "head_dim": "null for the usual one",
    "n_inner": "null for the usual one",
    "layer_types": "null for the usual ones",
    "sliding_window": "of no layer",
    "intermediate_size": "of no layer",
    "max_window_layers": "layers are listed",
    "no_rope_layer_interval": "layers are listed",
    "_sliding_window_pattern": "layers are listed",
    "decoder_sparse_step": "dense layers are listed",
    "mlp_only_layers": "dense layers are listed",
    "partial_rotary_factor": "in rope_parameters too",
    "rotary_pct": "in rope_parameters too",
    "original_max_position_embeddings": "in rope_parameters too",
    "use_bidirectional_attention": "null for false",
    "swiglu_limit": "constant",
    "moe_layer_freq": "constant",
    "topk_method": "constant",
    "scoring_func": "constant",
    "full_attn_mod": "constant",
    "interpolate_factor": "constant",
}
"""Keys that may differ, or be told by one side only, and why: the logits are the same to the last bit all the same."""

OF_EXPERTS = {"n_routed_experts", "num_experts_per_tok", "moe_intermediate_size", "n_group", "topk_group"}


def assert_same_config(config, other):
    """All keys that say what is computed."""
    one, another = config.to_dict(), other.to_dict()
    different = {key for key in {*one, *another} if one.get(key) != another.get(key)} - {*TOLD_ELSEWHERE}
    if "first_k_dense_replace" in one and one["first_k_dense_replace"] == one["num_hidden_layers"]:
        different -= OF_EXPERTS | {"n_shared_experts", "routed_scaling_factor", "norm_topk_prob"}
    if "rope_parameters" in different and contains(one["rope_parameters"], another["rope_parameters"]):
        different.remove("rope_parameters")
    assert not different, {key: (one.get(key), another.get(key)) for key in different}


def contains(found, told):
    """Whether all that one side tells of rotations is told by the other, which may tell defaults too."""
    if isinstance(told, dict):
        return all(key in found and contains(found[key], value) for key, value in told.items())
    return found == told


@pytest.mark.parametrize("name", OF_EACH)
def test_a_network_is_of_those_families_only_that_compute_the_same(peer, imports, name, tmp_path):
    model, network = imports(name)
    found = []
    for family in FAMILIES.values():
        try:
            exported(model, family, network.state_dict(), tmp_path / family.name)
        except NotOfFamily:
            continue
        found.append(family.name)
        if family is not model.family:
            theirs = logits_of(loaded(tmp_path / family.name), rows())
            torch.testing.assert_close(theirs, peer(name).logits, rtol=0, atol=CLOSE)
    assert PEERS[name][0] in found


@cache
def families_of(name):
    """Those that a peer's config is of."""
    found, anatomy = [], FAMILIES[PEERS[name][0]].read(configured(*PEERS[name]).to_dict())
    for family in FAMILIES.values():
        try:
            family.write(anatomy)
        except NotOfFamily:
            continue
        found.append(family.name)
    return found


SEVERAL = {
    "llama": "llama mistral smollm3 phi3",
    "mistral": "mistral smollm3 phi3",
    "llama with biases": "llama smollm3",
    "llama of Llama 3.2": "llama mistral smollm3",
    "phi3 of Phi 4 mini, half rotated": "phi3",
    "phi3 of 128k": "phi3",
    "qwen3": "qwen3 qwen3_moe",
    "olmo2": "olmo2 olmo3",
    "smollm3 without layers of no position": "llama mistral smollm3",
    "gpt2": "gpt2",
}
"""Networks that more than one family has, and some that one has only, in the order in which they are looked through."""


@pytest.mark.parametrize("name", SEVERAL)
def test_the_families_of_a_network_are_found_in_order(name):
    assert families_of(name) == SEVERAL[name].split()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_recipe_of_a_folder_makes_a_network_of_the_same_parts(imports, name):
    model, _ = imports(name)
    with torch.device("meta"):
        network = build(Callable[[], Network], model.recipe)()
    assert anatomy_of(model.recipe, network) == model.anatomy
    assert recipe_of(model.anatomy) == model.recipe


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_configs_of_before_mean_what_they_mean_to_transformers(peer, name, tmp_path):
    folder, tokens = rewritten(peer(name), tmp_path / "old", config=CONFIGS[name]), rows()
    _, network = imported(folder)
    theirs = logits_of(loaded(folder), tokens)
    torch.testing.assert_close(ours(network, tokens), theirs, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", TENSORS)
def test_files_of_before_hold_the_same_weights(peer, name, tmp_path):
    one, tokens = peer(name), rows()
    _, network = imported(rewritten(one, tmp_path / "old", tensors=TENSORS[name]))
    torch.testing.assert_close(ours(network, tokens), logits_of(one.model, tokens), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("name", ["gpt2", "mixtral", "deepseek_v3", "gpt_oss"])
def test_shards_in_bfloat16_come_in_as_they_are(name, tmp_path):
    one, tokens = made(name, tmp_path / "shards", dtype=torch.bfloat16, shard="20KB"), rows()
    assert len([*one.folder.glob("*.safetensors")]) > 3
    model, network = imported(one.folder)
    torch.testing.assert_close(ours(network, tokens), logits_of(loaded(one.folder), tokens), rtol=0, atol=CLOSE)
    tensors = model.tensors()
    kept = {key: tensor.dtype for key, tensor in one.tensors.items()}
    assert torch.bfloat16 in kept.values()
    for key, tensor in exported(model, model.family, tensors, tmp_path / "out").items():
        assert tensor.dtype == kept[key] and torch.equal(tensor, one.tensors[key]), key


def test_a_network_takes_weights_in_a_dtype_of_its_own(peer):
    model = Model(peer("llama").folder)
    network = model.build().to(torch.bfloat16)
    model.load_into(network)
    tensors = model.tensors()
    for name, tensor in network.state_dict().items():
        assert tensor.dtype == torch.bfloat16 and torch.equal(tensor, tensors[name].bfloat16())


def test_a_network_without_memory_takes_no_weights(peer):
    model = Model(peer("llama").folder)
    with torch.device("meta"):
        network = model.build()
    with pytest.raises(UserError, match="to_empty"):
        model.load_into(network)
    model.load_into(network.to_empty(device="cpu"))


def test_a_family_refuses_what_it_cannot_say(peer):
    network = Model(peer("gpt2").folder).anatomy
    with pytest.raises(NotOfFamily):
        FAMILIES["llama"].write(network)
    with pytest.raises(UserError, match="rope_type: 'dynamic'"):
        FAMILIES["llama"].read(
            configured("llama", {}).to_dict()
            | {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_parameters": None}
        )


def test_phi3_prefers_the_original_context_beside_its_rotation_and_its_default_of_that(peer, tmp_path):
    folder = rewritten(peer(LONGROPE), tmp_path / "old", config=without("original_max_position_embeddings"))
    theirs = logits_of(loaded(folder), rows())
    torch.testing.assert_close(ours(imported(folder)[1], rows()), theirs, rtol=0, atol=CLOSE)


def test_longrope_was_once_called_su(peer):
    config = CONFIGS[LONGROPE](peer(LONGROPE).config)
    named = config | {"rope_scaling": config["rope_scaling"] | {"type": "su"}}
    assert config["rope_scaling"]["type"] == "longrope"
    assert FAMILIES["phi3"].read(named) == FAMILIES["phi3"].read(config)
