"""Configs of published models are read as they are, and make networks with as many parameters as those have."""

from collections.abc import Callable

import pytest
import torch
import transformers

from lmkit.errors import UserError
from lmkit.hf.packed import PACKED, packing_of
from lmkit.hf.tables.anatomy import recipe_of
from lmkit.hf.tables.families import FAMILIES
from lmkit.hf.weights import Ties
from lmkit.network import Network
from lmkit.registry import build
from tests.hf.hub import HUB, REFUSED


@pytest.mark.slow
@pytest.mark.parametrize("name", HUB)
def test_a_published_config_makes_a_network_of_as_many_parameters(name):
    config, parameters = HUB[name]
    family = FAMILIES[config["model_type"]]
    assert (packing_of(config) is not None) == (PACKED in config)
    config = {key: value for key, value in config.items() if key != PACKED}
    anatomy = family.read(config)
    with torch.device("meta"):
        network = build(Callable[[], Network], recipe_of(anatomy))()
    tensors = network.state_dict()
    assert sum(tensor.numel() for tensor in tensors.values()) == parameters
    assert sum(torch.Size(shape).numel() for shape in Ties(family, anatomy, tensors).shapes.values()) == parameters
    assert family.read(family.write(anatomy)) == anatomy


@pytest.mark.parametrize("name", REFUSED)
def test_what_lmkit_lacks_is_refused_by_its_name(name):
    of, keys, word = REFUSED[name]
    config = HUB[of][0] | keys
    with pytest.raises(UserError, match=word):
        FAMILIES[config["model_type"]].read(config)


HARMLESS = [
    ("TinyLlama-1.1B", {"is_llama_config": True, "rope_interleaved": False}),
    ("TinyLlama-1.1B", {"transformers.js_config": {"use_external_data_format": True}}),
    ("TinyLlama-1.1B", {"_flash_attn_2_enabled": True, "gradient_checkpointing": True}),
    ("TinyLlama-1.1B", {"max_sequence_length": 2048}),
    ("gemma-2-2b", {"sliding_window_size": 4096}),
    ("Qwen2.5-0.5B", {"max_length": 20, "temperature": 0.7, "do_sample": True, "top_k": 20, "top_p": 0.8}),
    ("gpt2", {"repetition_penalty": 1.1, "num_beams": 4, "forced_eos_token_id": 3, "suppress_tokens": [1]}),
]


@pytest.mark.parametrize(("name", "keys"), HARMLESS, ids=str)
def test_keys_that_change_nothing_are_no_reason_to_refuse_a_folder(name, keys):
    family, config = FAMILIES[HUB[name][0]["model_type"]], HUB[name][0]
    assert family.read(config | keys) == family.read(config)


def test_an_early_llama_has_the_context_that_transformers_gives_it():
    config = HUB["TinyLlama-1.1B"][0]
    anatomy = FAMILIES["llama"].read({key: config[key] for key in config if key != "max_position_embeddings"})
    assert anatomy.whole["context"] == transformers.LlamaConfig().max_position_embeddings == 2048
