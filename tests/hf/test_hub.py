"""Configs of published models are read as they are, and make networks with as many parameters as those have."""

from collections.abc import Callable

import pytest
import torch

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
