"""Adapters beside every task: a checkpoint holds what learns, and says which base that is beside."""

import json
from pathlib import Path

import pytest

from lmkit.checkpoints import BASE, read
from tests.conftest import RECIPES
from tests.tasks.conftest import write_rows

pytest.importorskip("peft")

COLUMNS = {"sft": ("prompt", "completion"), **dict.fromkeys(("dpo", "kto", "reward"), ("prompt", "chosen", "rejected"))}


@pytest.mark.parametrize("recipe", [pytest.param(name, marks=pytest.mark.slow) for name in COLUMNS] + ["classify"])
def test_only_what_learns_is_kept_and_goes_on(run, start, recipe):
    if recipe in COLUMNS:
        write_rows(Path("rows.jsonl"), *COLUMNS[recipe])
    else:
        rows = [{"text": f"the {word} {n} sat", "label": word} for n in range(40) for word in ("cat", "dog")]
        Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["fit", "-c", RECIPES / f"{recipe}.yaml", *start, "--data.source=rows.jsonl", "--model.transforms=[LoRA]"]
    code, _, errors = run(*command)
    assert code == 0, errors
    last = Path(f"runs/{recipe}/version_0/checkpoints/last.ckpt")
    held = read(last)
    kept = {name.removeprefix("network.") for name in held["state_dict"] if name.startswith("network.")}
    assert kept
    assert all("lora_" in name for name in kept)
    assert held[BASE]["path"].endswith("start.ckpt")
    assert any(name.startswith("head.") for name in held["state_dict"]) == (recipe in {"reward", "classify"})
    code, _, errors = run(*command, "--ckpt_path=last", "--trainer.max_steps=4", "--trainer.val_check_interval=1")
    assert code == 0, errors
    assert read(last)["global_step"] == 4
