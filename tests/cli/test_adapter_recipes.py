"""Recipes of adapters, which are added to any other by a second `-c`."""

from math import prod
from pathlib import Path

import pytest
import yaml

from lmkit.checkpoints import BASE, read, weights
from lmkit.cli.recipes import read_recipes
from tests.conftest import RECIPES

RECIPE = RECIPES / "gpt-small.yaml"
ADAPTERS = sorted((RECIPES / "adapters").glob("*.yaml"))


def transforms_of(recipe):
    return recipe["model"]["init_args"]["transforms"]


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_they_say_what_is_done_to_a_network_and_little_else(path):
    recipe = yaml.safe_load(path.read_text())
    assert recipe.keys() == {"model"}
    assert recipe["model"].keys() == {"init_args"}
    assert recipe["model"]["init_args"].keys() == {"transforms"}
    assert f"-c recipes/adapters/{path.name} " in path.read_text()
    assert read_recipes(["fit", "-c", str(RECIPE), "-c", str(path)]).name == "gpt-small"


def test_there_is_one_for_each_method():
    names = {"lora", "dora", "rslora", "pissa", "lora-plus", "ia3", "qlora", "last-layers", "norms-only"}
    assert {path.stem for path in ADAPTERS} == names


@pytest.mark.slow
def test_each_is_trained_from_a_run_and_generated_from(run, toy):
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    fitting = [option for option in toy if "network" not in option and "vocab_size" not in option]
    single = [path for path in ADAPTERS if path.stem != "qlora"]  # in test_four_bits.py
    for number, path in enumerate(single, 1):
        last = f"runs/gpt-small/version_{number}/checkpoints/last.ckpt"
        start = "--model.init_from=runs/gpt-small/version_0"
        code, out, errors = run("fit", "-c", RECIPE, "-c", path, *fitting, start)
        assert code == 0, errors
        assert "gpt-small: 2 optimizer steps" in out
        held, said = read(last), yaml.safe_load(path.read_text())
        for done, asked in zip(transforms_of(held["lmkit"]["recipe"]), transforms_of(said), strict=True):
            assert done["class_path"].rpartition(".")[2] == asked["class_path"]
            assert asked.get("init_args", {}).items() <= done["init_args"].items()
        optimizer = held["lmkit"]["recipe"]["model"]["init_args"]["optimizer"]["init_args"]
        assert {"betas": [0.9, 0.95], "fused": True, "lr": 0.0015}.items() <= optimizer.items()
        rates = [part["init_args"] for part in transforms_of(said) if part["class_path"] == "LearningRate"]
        factors = [rate["factor"] for rate in rates if "names" not in rate]
        (first, *_) = held["optimizer_states"][0]["param_groups"]
        assert first["initial_lr"] == pytest.approx(0.0015 * prod(factors))
        whole = transforms_of(said)[0]["class_path"] == "Freeze"
        assert (BASE in held) != whole
        assert whole or len(weights(held)) in {6, 24, 36, 48}
        assert run("generate", Path(last).parent.parent, "--prompt=the", "--count=3")[0] == 0


def test_what_a_later_recipe_says_counts(run, toy):
    """Of a partial recipe too, and a mistake in it is told as in any other."""
    Path("partly.yaml").write_text("model: {init_args: {transforms: [{class_path: LoRA, init_args: {rnk: 3}}]}}")
    code, _, errors = run("fit", "-c", RECIPE, "-c", "partly.yaml", *toy)
    assert code == 2
    assert "LoRA has no parameter rnk: did you mean rank?" in errors
    code, _, errors = run("fit", "-c", RECIPES / "adapters/lora.yaml")
    assert code == 2
    assert "must be given: name a recipe" in errors
