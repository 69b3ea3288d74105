"""Networks of any parts go out with their own code, and are the same where there is torch and transformers only."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from jsonargparse import ArgumentParser
from safetensors.torch import save_file

import lmkit.cli.own_defaults  # noqa: F401 (what a recipe that leaves options out means)
from lmkit.errors import UserError
from lmkit.hf.own_code import write_code
from lmkit.inference import Sampler, generate
from lmkit.network import Network
from lmkit.registry import build, load_plugins
from tests.conftest import ROOT

PLUGIN = "lmkit_plugins.differential_attention.DifferentialAttention"
ROWS = (3, 9, 9, 6)
"""Tokens of the rows of a padded batch."""


def part(name, **options):
    return {"class_path": name, "init_args": options}


def decoder(**options):
    return part("Decoder", **{"vocab_size": 61, "context": 40, "dim": 16, "depth": 2, "heads": 2, **options})


WINDOWED = part("SelfAttention", window=4, kv_heads=1, qk_norm=part("RMSNorm"))
HYBRID = [
    {"attention": part("GatedDeltaNet", v_heads=4, chunk=4), "repeat": 2},
    {"attention": part("SelfAttention", gated=True, sinks=True), "position": part("NoPosition")},
]
LATENT = part("LatentAttention", kv_rank=8, nope_dim=6, rope_dim=4, v_dim=6)
EXPERTS = part(
    "MixtureOfExperts", experts=4, active=2, hidden=8, shared=1, router=part("SigmoidRouter", groups=2, groups_active=2)
)
NETWORKS = {
    "default": decoder(),
    "windows": decoder(
        depth=3, position=part("ALiBi"), pattern=[{"attention": WINDOWED, "repeat": 2}, {}], block=part("SandwichNorm")
    ),
    "hybrid": decoder(depth=3, pattern=HYBRID, tied=False, position=part("Rotary", width=4)),
    "latent": decoder(
        attention=LATENT, position=part("Rotary", width=4), pattern=[{}, {"feed_forward": EXPERTS}], tied=False
    ),
    "plugin": decoder(attention=part(PLUGIN, lambda_init=0.3), block=part("LayerScale", start=0.7)),
    "tanh": decoder(norm=part("DynamicTanh"), position=part("Learned"), embedding_norm=part("LayerNorm", bias=False)),
    "relative": decoder(
        position=part("RelativeBias", buckets=8, longest=20), feed_forward=part("Gated", activation=part("GELU"))
    ),
    "capped": decoder(soft_cap=5.0, attention=part("SelfAttention", soft_cap=3.0), embedding_scale=4.0),
    "installed": decoder(norm=part("lmkit_ada_norm.AdaNorm", damping=0.2), position=part("Sinusoidal")),
}


@pytest.fixture(scope="module", autouse=True)
def plugins():
    sys.path.insert(0, str(ROOT / "plugins" / "example-package"))
    load_plugins([str(ROOT / "plugins" / "differential_attention.py"), "lmkit_ada_norm"])
    yield
    sys.path.remove(str(ROOT / "plugins" / "example-package"))


def made(recipe):
    """The network of a recipe with random weights, and its recipe in full, as a checkpoint keeps it."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--part", type=Callable[[], Network])
    recipe = parser.parse_object({"part": recipe}).part.as_dict()
    network = build(Callable[[], Network], recipe)().eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.normal_(std=0.3).add_(1.0 if "norm" in name else 0.0)
    return network, recipe


def exported(recipe, folder):
    """The network of a recipe, and the folder that it is written to, with what lmkit says of it."""
    folder.mkdir()
    torch.manual_seed(0)
    network, recipe = made(recipe)
    (folder / "config.json").write_text(json.dumps(write_code(network, recipe, folder)))
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tokens = torch.randint(1, 61, (2, 12))
    rows = [torch.randint(1, 61, (length,)) for length in ROWS]
    with torch.no_grad():
        reference = {
            "tokens": tokens,
            "rows": rows,
            "logits": network.logits(network(tokens)),
            "alone": [network.logits(network(row[None]))[0] for row in rows],
            "continued": continued(network, tokens),
            "rows_continued": torch.cat([continued(network, row[None]) for row in rows]),
        }
    torch.save(reference, folder / "reference.pt")
    return network


def continued(network, tokens):
    return torch.stack([*generate(network, tokens, Sampler(temperature=0), 14)], dim=1)


def elsewhere(folders, tmp_path, site=None):
    """What a process without lmkit finds in exported folders."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "HF_"))},
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        **({"PYTHONPATH": site} if site else {}),
    }
    command = [sys.executable, str(Path(__file__).with_name("elsewhere.py")), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    base = tmp_path_factory.mktemp("exported")
    return base, {name: exported(recipe, base / name) for name, recipe in NETWORKS.items()}


@pytest.fixture(scope="module")
def found(homes, tmp_path_factory):
    base, networks = homes
    return elsewhere([base / name for name in networks], tmp_path_factory.mktemp("away"), os.environ.get("TRANSFORMERS_PATH"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
class TestElsewhere:
    def test_logits_are_the_same(self, found, name):
        """In one piece, in pieces with a past, with padding on either side and in packed rows."""
        ways = ("logits", "no_cache", "last", "pieces", "left", "left_cached", "right", "packed", "reloaded")
        assert {way: found[name][way] for way in ways if found[name][way] > 1e-5} == {}

    def test_greedy_continuations_are_those_of_lmkit(self, found, name):
        assert found[name]["greedy"]
        assert found[name]["greedy_uncached"]
        assert found[name]["greedy_padded"]

    def test_beams_are_the_same_with_and_without_a_past(self, found, name):
        assert found[name]["beams"] == found[name]["beams_uncached"]

    def test_it_trains(self, found, homes, name):
        loss, missing, no_past = found[name]["training"]
        network = homes[1][name]
        tokens = torch.load(homes[0] / name / "reference.pt")["tokens"]
        logits = network.train().logits(network(tokens))
        expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        expected += sum(side for m in network.modules() for side in getattr(m, "side_losses", {}).values())
        assert loss == pytest.approx(expected.item(), abs=1e-5)
        assert missing == []
        assert no_past

    def test_it_loads_in_bfloat16(self, found, homes, name):
        """But for what is kept in float32, as biases of routers are."""
        kept = {name for name, dtype in found[name]["dtypes"].items() if dtype != "torch.bfloat16"}
        own = homes[1][name].bfloat16().state_dict()
        homes[1][name].float()
        assert kept == {f"network.{name}" for name, tensor in own.items() if tensor.dtype != torch.bfloat16}
        assert found[name]["half"] < 1

    def test_it_says_what_its_embedding_and_head_are(self, found, homes, name):
        assert found[name]["tied"] == (homes[1][name].head is None)
        assert found[name]["embedding"] == [61, 16]

    def test_the_same_files_are_saved_again(self, found, homes, name):
        assert found[name]["files"] == sorted(path.name for path in (homes[0] / name).glob("*.py"))
