"""Runs of an adapter beside a base, as a user starts them, stops them and goes on with them."""

import shutil
from pathlib import Path

import pytest
import torch

from lmkit.checkpoints import BASE, read, weights, write
from lmkit.cli.main import main
from tests.cli.test_fit import DROPOUT, KILL, LONG, rows
from tests.conftest import RECIPES

pytestmark = pytest.mark.slow
RECIPE = RECIPES / "llama-small.yaml"
LAST = "version_0/checkpoints/last.ckpt"
BEST = "version_0/checkpoints/best.ckpt"
LORA = "--model.transforms=[{class_path: LoRA, init_args: {rank: 2, dropout: 0.1}}]"


@pytest.fixture(scope="module")
def fitting(toy):
    """Options of a short run whose network is that which it starts from."""
    return [option for option in toy if "network" not in option and "vocab_size" not in option]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, toy, fitting):
    """A run, and one of LoRA that starts from it."""
    where = tmp_path_factory.mktemp("beside")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setenv("LMKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        for options in ([*toy, "--name=plain"], [*fitting, "--name=lora", "--model.init_from=runs/plain", LORA]):
            assert main([str(each) for each in ("fit", "-c", RECIPE, *options)]) == 0
    return where / "runs"


@pytest.fixture
def made(runs, run):
    """The same, to be changed here, where the first ones can no longer be found."""
    shutil.copytree(runs, "runs")
    runs.rename(runs.with_name("away"))
    yield run
    runs.with_name("away").rename(runs)


def test_a_base_that_is_gone_or_has_changed_is_one_line(made, fitting):
    plain = Path("runs/plain") / BEST
    held = read(plain)
    held["state_dict"]["network.norm.weight"][3] += 1e-6
    write(held, plain, "")
    again = ["-c", "runs/lora/version_0/config.yaml", *fitting, "--trainer.max_steps=3", "--ckpt_path=last"]
    for gone in (False, True):
        if gone:
            shutil.rmtree("runs/plain")
        why = "which is gone: put it back" if gone else "holds other names, shapes or numbers now"
        for command in (
            ["generate", "runs/lora"],
            ["export", "runs/lora", "out"],
            ["fit", "-c", RECIPE, *fitting, "--model.init_from=runs/lora"],
            ["fit", *again],
            ["validate", *again],
        ):
            code, _, errors = made(*command)
            assert code == 2
            (line,) = [line for line in errors.splitlines() if line.startswith("lmkit: error: ")]
            assert why in line
            assert "plain/version_0/checkpoints/best.ckpt" in line
    assert not Path("out").exists()


def test_a_run_goes_on_where_its_base_is_now(made, fitting):
    kept = weights(read(Path("runs/lora") / LAST))
    assert {name.rpartition(".lora_")[2] for name in kept} == {"A.default.weight", "B.default.weight"}
    assert made("generate", "runs/lora", "--prompt=the", "--count=3")[0] == 0
    shutil.move("runs/plain", "moved")
    options = [*fitting, LORA, "--name=lora", "--trainer.max_steps=3", "--ckpt_path=last", "--model.init_from=moved"]
    for command in ("validate", "fit"):
        code, _, errors = made(command, "-c", RECIPE, *options)
        assert code == 0, errors
    after = read(Path("runs/lora") / LAST)
    assert after["global_step"] == 3
    assert len(after["optimizer_states"][0]["state"]) == len(kept) == 28
    assert weights(after).keys() == kept.keys()
    assert after[BASE]["path"] == str(Path("moved").resolve() / BEST)
    assert not torch.equal(*(next(iter(state.values())) for state in (weights(after), kept)))


def test_a_killed_run_goes_on_exactly(made, fitting):
    options = ["fit", "-c", RECIPE, *fitting, *LONG[:2], *DROPOUT, LORA, "--model.init_from=runs/plain"]
    assert made(*options, "--name=whole")[0] == 0
    Path("KillBeside.py").write_text(KILL.replace("Kill", "KillBeside"))
    with pytest.raises(SystemError, match="killed"):
        made(*options, "--name=killed", "--plugins=KillBeside.py", "--trainer.callbacks=KillBeside")
    code, _, errors = made(*options, "--name=killed", "--ckpt_path=last")
    assert code == 0, errors
    assert rows("runs/whole/version_0") == rows("runs/killed/version_0")
    whole, killed = (read(f"runs/{name}/{LAST}")["state_dict"] for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(value, whole[name]) for name, value in killed.items())


def test_without_a_start_the_base_stays_in_the_checkpoint(made, toy):
    assert made("fit", "-c", RECIPE, *toy, LORA, "--name=whole")[0] == 0
    held = read(f"runs/whole/{LAST}")
    assert BASE not in held
    assert "network.blocks.0.attention.q.base_layer.weight" in held["state_dict"]


def test_adapters_are_put_onto_a_base_to_generate(made):
    shutil.copytree("runs/lora", "other")
    asked = ["--prompt=the", "--count=9", "--seed=1", "--cached=false"]
    texts = [
        made("generate", *each, *asked)[1]
        for each in (
            ["runs/lora"],
            ["runs/plain", "--adapter", "runs/lora"],
            ["runs/plain", "--adapter=runs/lora", "--adapter=other"],
            ["runs/plain"],
        )
    ]
    assert texts[0] == texts[1]
    assert all(text.startswith("the") for text in texts)
    code, _, errors = made("generate", "runs/lora", "--adapter=runs/lora")
    assert code == 2
    assert "was not learned beside" in errors
