"""Networks of any parts go out with their own code, and are the same where there is torch and transformers only."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from jsonargparse import ArgumentParser
from safetensors.torch import save_file
from transformers.dynamic_module_utils import get_relative_imports

import lmkit.cli.own_defaults  # noqa: F401 (what a recipe that leaves options out means)
from lmkit import __version__
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
    "buffered": decoder(norm=part("lmkit_plugins.buffered.Buffered")),
    "installed": decoder(norm=part("lmkit_ada_norm.AdaNorm", damping=0.2), position=part("Sinusoidal")),
}


BUFFERED = '''"""A norm with a tensor that no file holds, and that fills its tensors without torch.nn.init."""

import torch
from lmkit.layers import RMSNorm


class Buffered(RMSNorm):
    """RMSNorm, times two."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.register_buffer("two", torch.empty(dim), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weight.fill_(1.0)
            if hasattr(self, "two"):
                self.two.fill_(2.0)

    def forward(self, x):
        return super().forward(x) * self.two
'''


@pytest.fixture(scope="module", autouse=True)
def plugins(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugins") / "buffered.py"
    path.write_text(BUFFERED)
    sys.path.insert(0, str(ROOT / "plugins" / "example-package"))
    load_plugins([str(ROOT / "plugins" / "differential_attention.py"), str(path), "lmkit_ada_norm"])
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
    half = deepcopy(network).bfloat16()
    with torch.no_grad():
        reference = {
            "tokens": tokens,
            "rows": rows,
            "logits": network.logits(network(tokens)),
            "half": half.logits(half(tokens)).float(),
            "alone": [network.logits(network(row[None]))[0] for row in rows],
            "continued": continued(network, tokens),
            "rows_continued": torch.cat([continued(network, row[None]) for row in rows]),
        }
    torch.save(reference, folder / "reference.pt")
    return network


def continued(network, tokens):
    return torch.stack([*generate(network, tokens, Sampler(temperature=0), 14)], dim=1)


def hub_with(folder, hub):
    """A cache of the hub that holds a folder as the model `some/one`."""
    model = hub / "models--some--one"
    shutil.copytree(folder, model / "snapshots" / ("a" * 40))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("a" * 40)
    return hub


def elsewhere(folders, tmp_path, site=None):
    """What a process without lmkit finds in exported folders."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "HF_"))},
        "HF_MODULES_CACHE": str(tmp_path / "modules"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(hub_with(folders[0], tmp_path / "hub")),
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
    site = os.environ.get("TRANSFORMERS_PATH")  # of another version to try
    return elsewhere([base / name for name in networks], tmp_path_factory.mktemp("away"), site)


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
        loss, missing, apart, no_past = found[name]["training"]
        network = homes[1][name]
        tokens = torch.load(homes[0] / name / "reference.pt")["tokens"]
        logits = network.train().logits(network(tokens))
        expected = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        expected += sum(side for m in network.modules() for side in getattr(m, "side_losses", {}).values())
        assert loss == pytest.approx(expected.item(), abs=1e-5)
        assert missing == []
        assert apart < 1e-5
        assert no_past

    def test_it_loads_in_bfloat16(self, found, homes, name):
        """But for what is kept in float32, as biases of routers are."""
        kept = {name for name, dtype in found[name]["dtypes"].items() if dtype != "torch.bfloat16"}
        own = homes[1][name].bfloat16().state_dict()
        homes[1][name].float()
        assert kept == {f"network.{name}" for name, tensor in own.items() if tensor.dtype != torch.bfloat16}
        assert found[name]["half"] < 0.02  # a rotation in bfloat16 would make it 0.05 to 0.16

    def test_it_says_what_its_embedding_and_head_are(self, found, homes, name):
        assert found[name]["tied"] == (homes[1][name].head is None)
        assert found[name]["embedding"] == [61, 16]

    def test_the_same_files_are_saved_again(self, found, homes, name):
        assert found[name]["files"] == sorted(path.name for path in (homes[0] / name).glob("*.py"))


@pytest.mark.slow
def test_what_is_not_supported_is_told(found):
    told = found["default"]["refusals"]
    assert "reads 40" in told["long"]
    assert "reads 40" in told["long_with_cache"]
    assert "generate fewer" in told["generates_too_much"]
    assert "input_ids" in told["embeds"]
    assert "padding between" in told["hole"]
    assert "padding_side='left'" in told["right"]
    assert "vocab_size" in told["resize"]
    assert "count up from 0" in told["positions"]
    assert "stateful" in told["assistant"]
    assert "not what the past was read with" in told["other_mask"]
    assert "leave out logits_to_keep" in told["labels"]
    assert "output_hidden_states is not supported" in told["hidden"]


@pytest.mark.slow
def test_sampling_going_on_the_hub_and_fresh_weights_work_too(found):
    assert found["default"]["drawn"] == [len(ROWS), max(ROWS) + 5]
    assert found["default"]["gone_on"]
    assert found["default"]["hub"] == 0
    assert found["default"]["fresh"] < 0.2  # the largest weight of a deviation of 0.02


@pytest.mark.slow
def test_buffers_that_no_file_holds_are_filled(found):
    assert found["latent"]["unsaved"] == {"network.blocks.1.feed_forward.router.loads": 0}


@pytest.mark.slow
def test_a_package_that_is_missing_is_told_by_transformers(tmp_path, plugin_that_needs):
    folder = tmp_path / "needy"
    exported(decoder(norm=part(plugin_that_needs("no_such_package"))), folder)
    with pytest.raises(AssertionError, match=r"requires the following packages.*no_such_package"):
        elsewhere([folder], tmp_path)


@pytest.fixture
def plugin_that_needs(tmp_path, monkeypatch):
    """Writes a plugin with a norm that imports a package, which is there while it is exported; gives its class path."""

    def write(package, how="import {}"):
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        path = tmp_path / f"needs_{package}.py"
        path.write_text(f"{how.format(package)}\nfrom lmkit.layers import RMSNorm\n\nclass Needy(RMSNorm):\n    pass\n")
        load_plugins([str(path)])
        return f"lmkit_plugins.needs_{package}.Needy"

    return write


@pytest.fixture
def written(tmp_path):
    """The files and the configuration of a recipe's network."""

    def write(recipe):
        network, recipe = made(recipe)
        configuration = write_code(network, recipe, tmp_path)
        return {path.stem: path.read_text() for path in tmp_path.glob("*.py")}, configuration

    return write


def test_only_the_files_that_are_used_are_written(written):
    files, _ = written(NETWORKS["plugin"])
    assert {"modeling_lmkit", "lmkit_layers_norms", "lmkit_plugins_differential_attention"} <= set(files)
    assert not {"lmkit_layers_mixture", "lmkit_layers", "lmkit_network_encoder", "lmkit_layers_biases"} & set(files)


@pytest.mark.parametrize("name", ["hybrid", "latent", "plugin", "installed"])
def test_files_import_each_other_only(written, name):
    files, _ = written(NETWORKS[name])
    for code in files.values():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert all(one in files for one in ([node.module] if node.module else [a.name for a in node.names]))
            elif isinstance(node, ast.ImportFrom | ast.Import):
                assert "lmkit" not in ast.unparse(node)


def test_transformers_finds_all_files_from_the_model(written, tmp_path):
    """It copies those that the model's file names itself, and no others."""
    files, _ = written(NETWORKS["hybrid"])
    assert {"modeling_lmkit", *get_relative_imports(tmp_path / "modeling_lmkit.py")} == set(files)


def test_a_plugin_keeps_its_words_and_lmkits_files_say_where_they_are_from(written):
    files, _ = written(NETWORKS["plugin"])
    assert files["lmkit_plugins_differential_attention"].startswith('"""Differential attention (Ye et al. 2024')
    assert files["lmkit_layers_norms"].startswith(f"# From lmkit {__version__} (Apache-2.0), lmkit/layers/norms.py")


def test_the_configuration_has_the_names_that_others_know(written):
    _, configuration = written(NETWORKS["hybrid"])
    known = ("vocab_size", "max_position_embeddings", "hidden_size", "num_hidden_layers", "num_attention_heads")
    assert [configuration[key] for key in known] == [61, 40, 16, 3, 2]
    assert configuration["tie_word_embeddings"] is False
    assert configuration["dtype"] == "float32"
    assert configuration["packages"] == []
    assert configuration["recipe"]["class_path"] == "lmkit.network.decoder.Decoder"
    json.dumps(configuration)


@pytest.mark.parametrize(
    ("package", "how"),
    [
        ("wanted", "import {}"),
        ("deep", "from {}.within import x"),
        ("tried", "try:\n    import {}\nexcept ImportError:\n    pass"),
    ],
)
def test_packages_that_a_plugin_needs_are_named(written, plugin_that_needs, monkeypatch, package, how):
    monkeypatch.setitem(sys.modules, f"{package}.within", SimpleNamespace(x=1))
    files, configuration = written(decoder(norm=part(plugin_that_needs(package, how))))
    assert configuration["packages"] == [package]
    assert (f"\nimport {package}" in files["modeling_lmkit"]) == ("try" not in how)


def test_imports_are_rewritten_wherever_and_however_they_stand(written, tmp_path):
    plugin = tmp_path / "styled.py"
    plugin.write_text(
        '"""Größe."""\n'
        "from __future__ import annotations\n"
        "from lmkit.layers import (\n    RMSNorm as Base,  # the usual one\n    norms,\n)\n"
        "from lmkit_plugins import helper\n"
        "import lmkit.layers.positions as p; from lmkit.layers.norms import *\n"
        "class Styled(Base):\n"
        "    def forward(self, x):\n"
        "        'ä'; from lmkit.layers.heads import rotate, join_heads\n"
        "        return super().forward(x)\n"
    )
    (tmp_path / "helper.py").write_text("from lmkit import __version__\n")
    load_plugins([str(tmp_path / "helper.py"), str(plugin)])
    files, _ = written(decoder(norm=part("lmkit_plugins.styled.Styled")))
    assert files["lmkit_plugins_styled"] == (
        '"""Größe."""\n'
        "from __future__ import annotations\n"
        "from .lmkit_layers_norms import RMSNorm as Base\n"
        "from . import lmkit_layers_norms as norms\n"
        "from . import lmkit_plugins_helper as helper\n"
        "from . import lmkit_layers_positions as p; from .lmkit_layers_norms import *\n"
        "class Styled(Base):\n"
        "    def forward(self, x):\n"
        "        'ä'; from .lmkit_layers_heads import rotate, join_heads\n"
        "        return super().forward(x)\n"
    )
    assert files["lmkit_plugins_helper"] == "from .lmkit import __version__\n"
    assert "__version__ =" in files["lmkit"]


def test_what_cannot_be_exported_is_told(tmp_path):
    network, recipe = made(NETWORKS["default"])
    other = {**recipe, "init_args": {**recipe["init_args"], "depth": 3}}
    with pytest.raises(UserError, match=r"not what its recipe describes: it has norm \(RMSNorm\), not blocks\.2"):
        write_code(network, other, tmp_path)
    with pytest.raises(UserError, match="names a class Decodr that is not there"):
        write_code(network, {**recipe, "class_path": "Decodr"}, tmp_path)
    reading = part("CrossPreNorm", cross=part("CrossAttention", heads=2))
    with pytest.raises(UserError, match="looks at what an encoder has read"):
        write_code(*made(decoder(block=reading)), tmp_path)
    plugin = tmp_path / "whole.py"
    plugin.write_text("import lmkit.layers\n\nclass Whole(lmkit.layers.RMSNorm):\n    pass\n")
    load_plugins([str(plugin)])
    with pytest.raises(UserError, match=r"whole\.py:1 imports lmkit\.layers as a whole"):
        write_code(*made(decoder(norm=part("lmkit_plugins.whole.Whole"))), tmp_path)
    assert not list(tmp_path.glob("*lmkit*.py"))
