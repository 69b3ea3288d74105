"""Adapters in a recipe: trained, stopped and gone on with, compiled, and rebuilt from a checkpoint."""

from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoTokenizer

from lmkit.hf.rebuilding import rebuild
from tests.cli.test_fit import DROPOUT, KILL, LONG, rows
from tests.conftest import RECIPES

RECIPE = RECIPES / "gpt-small.yaml"
LORA = "--model.transforms=[{class_path: LoRA, init_args: {rank: 4, dropout: 0.1, targets: ['*.attention.*']}}]"
LAST = "version_0/checkpoints/last.ckpt"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{targets: ['*.q_proj']}", "'*.q_proj', in LoRA's targets, is the name of no module that has a matrix"),
        ("{rank: four}", "rank is four, but it must be int"),
        ("{ranks: 4}", "LoRA has no parameter ranks"),
    ],
)
def test_a_mistake_gets_one_line(run, toy, options, said):
    transforms = f"--model.transforms=[{{class_path: LoRA, init_args: {options}}}]"
    code, _, errors = run("fit", "-c", RECIPE, *toy, transforms)
    assert code == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("lmkit: error: ")]
    assert said in line
    assert not Path("runs").exists()


def test_a_run_with_adapters_is_trained_and_generated_from(run, toy):
    code, _, errors = run(
        "fit", "-c", RECIPE, *toy, "--model.transforms=[DoRA]", "--model.transforms.rank=4", "--name=r"
    )
    assert code == 0, errors
    held = torch.load(f"runs/r/{LAST}")
    state = {name.removeprefix("network."): value for name, value in held["state_dict"].items()}
    assert len(held["optimizer_states"][0]["state"]) == len([name for name in state if ".lora_" in name]) == 3 * 12
    assert held["lmkit"]["recipe"]["model"]["init_args"]["transforms"][0]["init_args"]["targets"] == "all-linear"
    network = rebuild(f"runs/r/{LAST}").network
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    code, out, errors = run("generate", "runs/r", "--prompt=the", "--count=4")
    assert code == 0, errors
    assert out.startswith("the")


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly(run, toy):
    options = ["fit", "-c", RECIPE, *toy, *LONG, *DROPOUT, LORA]
    assert run(*options, "--name=whole")[0] == 0
    Path("KillAdapted.py").write_text(KILL.replace("Kill", "KillAdapted"))
    with pytest.raises(SystemError, match="killed"):
        run(*options, "--name=killed", "--plugins=KillAdapted.py", "--trainer.callbacks=KillAdapted")
    code, _, errors = run(*options, "--name=killed", "--ckpt_path=last")
    assert code == 0, errors
    assert rows("runs/whole/version_0") == rows("runs/killed/version_0")
    whole, killed = (torch.load(f"runs/{name}/{LAST}")["state_dict"] for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert all(torch.equal(value, whole[name]) for name, value in killed.items())
    other = ["--model.transforms.alpha=5", "--trainer.max_steps=12"]
    code, _, errors = run(*options, "--name=killed", "--ckpt_path=last", *other)
    assert code == 2
    assert "another model (model.transforms[0].alpha was 32.0 and is 5.0)" in errors


@pytest.mark.slow
def test_compiled_is_the_same_run(run, toy):
    adapter = LORA.replace("dropout: 0.1", "dropout: 0")  # of which compiled code draws others
    options = ["fit", "-c", RECIPE, *toy, *LONG, "--trainer.precision=64-true", adapter]
    assert run(*options, "--name=plain")[0] == 0
    assert run(*options, "--name=compiled", "--model.compile=true")[0] == 0
    for one, other in zip(rows("runs/plain/version_0"), rows("runs/compiled/version_0"), strict=True):
        assert [float(x) for x in one.values()] == pytest.approx([float(x) for x in other.values()], rel=1e-5)


@pytest.mark.slow
def test_an_adapted_run_is_exported_beside_its_base_or_as_one(run, toy):
    """Both are proved, in the dtype that is asked for; each card tells of its own model, and of no other."""
    code, _, errors = run("fit", "-c", RECIPES / "llama-small.yaml", *toy, LORA, "--name=r")
    assert code == 0, errors
    code, out, errors = run("export", "runs/r", "adapter", "--dtype=bfloat16")
    assert code == 0, errors
    assert "an adapter for peft, and in base/ a llama" in out
    assert {path.name for path in Path("adapter").iterdir()} == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "base", "tokenizer.json",
        "tokenizer_config.json"
    }  # fmt: skip
    peer, text = AutoPeftModelForCausalLM.from_pretrained("adapter"), "the cat sat"  # with its base, by its name
    assert AutoTokenizer.from_pretrained("adapter")(text) == AutoTokenizer.from_pretrained("adapter/base")(text)
    code, _, errors = run("generate", "adapter")
    assert code == 2
    assert "it is an adapter of peft, which is no network by itself" in errors
    held = load_file("adapter/adapter_model.safetensors")
    adapted = next(name for name in held if "lora_A" in name)
    loaded = get_peft_model_state_dict(peer)[adapted]
    torch.testing.assert_close(loaded, held[adapted].to(loaded.dtype), rtol=0, atol=0)
    assert {tensor.dtype for tensor in held.values()} == {torch.bfloat16}
    small = sum(tensor.numel() for tensor in load_file("adapter/base/model.safetensors").values())
    base, whole = (Path(f"adapter/{name}README.md").read_text() for name in ("base/", ""))
    assert f"of {small:,} parameters" in base
    assert f"of {small + sum(tensor.numel() for tensor in held.values()):,} parameters" in whole
    assert "## Training" in whole
    assert not any(heading in base for heading in ("## Training", "## Evaluation", "## Data", "LoRA"))
    code, _, errors = run("export", "runs/r", "merged", "--merge")
    assert code == 0, errors
    assert f"of {small:,} parameters" in Path("merged/README.md").read_text()
    code, _, errors = run("export", "merged", "again")
    assert code == 2
    assert run("import", "merged", "imported")[0] == 0
    code, _, errors = run("export", "imported", "again", "--merge")
    assert code == 2
    assert "has no adapter that could be merged: leave out --merge" in errors
