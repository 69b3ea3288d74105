"""QLoRA as a run: beside the base that it starts from, on one rank and two, rebuilt, generated from, exported."""

import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from lmkit.hf.rebuilding import rebuild
from tests.cli.test_fit import LONG, rows
from tests.conftest import RECIPES

LAST = "version_0/checkpoints/last.ckpt"


@pytest.mark.slow
def test_a_base_in_four_bits_is_trained_beside_and_used(run, toy, caplog):
    recipe = ["fit", "-c", str(RECIPES / "llama-small.yaml")]
    assert run(*recipe, *toy, "--name=base")[0] == 0
    recipe += ["-c", str(RECIPES / "adapters" / "qlora.yaml"), *toy, *LONG, "--model.init_from=runs/base"]
    recipe += ["--trainer.precision=64-true"]
    assert run(*recipe, "--name=one")[0] == 0
    assert re.search(r"parameters learn \(\d+\.\d\d%\), [\d,]+ are kept in four bits \(", caplog.text)
    two = [*recipe, "--name=two", "--trainer.devices=2", "--trainer.strategy=ddp"]
    done = subprocess.run([sys.executable, "-m", "lmkit.cli.main", *two], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for one, other in zip(rows("runs/one/version_0"), rows("runs/two/version_0"), strict=True):
        assert [float(x) for x in one.values()] == pytest.approx([float(x) for x in other.values()], rel=1e-5)
    state = rebuild(f"runs/one/{LAST}").network.state_dict()
    held = torch.load(f"runs/one/{LAST}", weights_only=True)["state_dict"]
    assert held
    assert all(".lora_" in name for name in held)  # the base is read again, and quantized again
    state = {f"network.{name}": value for name, value in state.items()}
    assert all(torch.equal(state[name], value.to(state[name].dtype)) for name, value in held.items())
    assert {each.dtype for name, each in state.items() if name.endswith("weight_codes")} == {torch.uint8}
    drawn = ["--prompt=the", "--count=4", "--seed=1"]
    code, out, errors = run("generate", "runs/one", *drawn)
    assert (code, out[:3]) == (0, "the"), errors
    assert run("generate", "runs/base", "--adapter=runs/one", *drawn)[1] == out
    for options in (["merged", "--merge"], ["adapter"]):
        code, out, errors = run("export", "runs/one", *options, "--dtype=float32")
        assert code == 0, errors
    merged, base = (load_file(f"{where}/model.safetensors") for where in ("merged", "adapter/base"))
    assert merged.keys() == base.keys()
    assert {name for name in base if not torch.equal(base[name], merged[name])} == {
        name for name in base if "_proj" in name
    }
