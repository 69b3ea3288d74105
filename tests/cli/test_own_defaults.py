"""A class that is named means that class with its own defaults, whatever stood in its place."""

import gc
import json
import sys
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from lmkit.cli.parser import Parser
from lmkit.network import Decoder, Network
from lmkit.testing.targets import resolve
from tests.conftest import RECIPES

SIZES = {"vocab_size": 300, "context": 16, "dim": 8, "depth": 1, "heads": 2}


def parse(*options, recipe=None, **parts):
    """The network's options after parsing; by default those of a recipe that names these parts."""
    parser = Parser()
    parser.add_argument("--config", action="config")
    parser.add_argument("--network", type=Callable[[], Network])
    recipe = recipe or {"network": {"class_path": "Decoder", "init_args": SIZES | parts}}
    config = parser.parse([f"--config={json.dumps(recipe)}", *options])
    return yaml.safe_load(parser.dump(config))["network"]["init_args"]


RMS = {"class_path": "RMSNorm", "init_args": {"eps": 0.5}}
LAYER = {"class_path": "lmkit.layers.LayerNorm", "init_args": {"eps": 1e-5, "bias": True, "weight": True}}


@pytest.mark.parametrize(
    ("options", "norm"),
    [
        ([], "LayerNorm"),
        ([], {"class_path": "LayerNorm"}),
        (["--network.norm=LayerNorm"], RMS),
        (["--network.norm=lmkit.layers.LayerNorm"], "RMSNorm"),
        (["--network.norm={class_path: LayerNorm}"], RMS),
        (["--network.norm=LayerNorm", "--network.norm.eps=1e-5"], RMS),
        (["--network={class_path: Decoder, init_args: {norm: LayerNorm}}"], RMS),
    ],
)
def test_a_norm_of_another_class_has_its_own_eps(options, norm):
    assert parse(*options, norm=norm)["norm"] == LAYER


def test_options_within_a_value_are_taken_and_the_others_are_its_own():
    found = parse("--network.norm={class_path: LayerNorm, init_args: {bias: false}}", norm=RMS)["norm"]
    assert found == {**LAYER, "init_args": {**LAYER["init_args"], "bias": False}}


@pytest.mark.parametrize(
    "option", ["--network.norm=RMSNorm", "--network.norm=lmkit.layers.norms.RMSNorm", "--network.norm.weight=true"]
)
def test_the_same_class_keeps_its_options(option):
    assert parse(option, norm=RMS)["norm"]["init_args"]["eps"] == 0.5


def test_a_part_of_a_part_is_not_handed_on():
    mlp = {"class_path": "MLP", "init_args": {"activation": "ReLUSquared", "bias": True}}
    for found in (parse("--network.feed_forward=Gated", feed_forward=mlp), parse(feed_forward="Gated")):
        assert found["feed_forward"]["init_args"]["activation"]["class_path"] == "lmkit.layers.SiLU"
        assert found["feed_forward"]["init_args"]["bias"] is False


def test_a_part_may_be_left_out_and_put_in_again():
    assert parse("--network.embedding_norm=null", embedding_norm=RMS).get("embedding_norm") is None
    assert parse("--network.embedding_norm=LayerNorm", embedding_norm=None)["embedding_norm"] == LAYER


class OtherDecoder(Decoder):
    """A network that takes the place of another."""


def test_a_network_takes_over_the_parts_of_the_one_in_whose_place_it_stands():
    found = parse(f"--network={__name__}.OtherDecoder", norm=RMS)
    assert {key: found[key] for key in SIZES} == SIZES
    assert found["norm"]["init_args"]["eps"] == 0.5


def test_gpt2_has_the_eps_of_gpt2():
    """The recipe names LayerNorm only; the network's default is an RMSNorm."""
    recipe = yaml.safe_load((RECIPES / "gpt2-124m.yaml").read_text())
    found = parse(recipe={"network": recipe["model"]["init_args"]["network"]})
    assert found["norm"] == LAYER


def test_a_name_means_our_own_class_whatever_another_package_calls_its_own():
    class AdamW(torch.optim.AdamW):
        """As bitsandbytes has one, which peft imports."""

    AdamW.__module__, AdamW.__qualname__ = "elsewhere", "AdamW"
    sys.modules["elsewhere"] = SimpleNamespace(AdamW=AdamW)
    try:
        parser = Parser()
        parser.add_argument("--optimizer", type=Callable[[Iterable[Any]], torch.optim.Optimizer])
        assert parser.parse(["--optimizer=AdamW"]).optimizer.class_path == "torch.optim.AdamW"
        assert resolve("AdamW", ()) == [torch.optim.AdamW]
        parser.parse(["--optimizer=elsewhere.AdamW"])
    finally:
        del sys.modules["elsewhere"], AdamW
        gc.collect()
