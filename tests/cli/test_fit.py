"""`lmkit fit` from the command line: what it leaves, how it goes on, and what the other commands make of it."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lmkit.hf.rebuilding import rebuild
from tests.conftest import RECIPES, ROOT

RECIPE = RECIPES / "gpt-small.yaml"
LONG = ["--trainer.max_steps=10", "--trainer.val_check_interval=4", "--model.network.block=PreNorm"]
DROPOUT = ["--model.network.block.dropout=0.2"]

KILL = """
from lightning import Callback

class Kill(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 6:
            raise SystemError("killed")
"""


def rows(run_folder):
    """Training losses and validation losses by step, as text, so that equality is exact."""
    with (Path(run_folder) / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    return [
        {line["step"]: line[column] for line in lines if line[column]}
        for column in ("train/loss", "train/gradient_norm", "train/learning_rate", "val/loss")
    ]


def test_a_run_leaves_its_record_and_says_what_it_reached(run, toy):
    code, out, errors = run("fit", "--config", RECIPE, *toy)
    assert code == 0, errors
    folder = Path("runs/gpt-small/version_0")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"config.yaml", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= names
    assert "hparams.yaml" not in names
    (events,) = folder.glob("*tfevents*")
    board = EventAccumulator(str(events)).Reload()
    shown = {"train/loss", "train/learning_rate", "train/gradient_norm", "val/loss", "val/perplexity"}
    shown |= {"val/bits_per_byte", "perf/tokens_per_second", "perf/mfu", "perf/memory_gib"}
    assert set(board.Tags()["scalars"]) == shown
    assert board.Tags()["tensors"] == ["sample/text_summary"]
    for part in (
        "validation loss",
        "perplexity",
        "bits per byte",
        "xz -9e",
        "It writes:",
        "lmkit generate",
        "tensorboard",
    ):
        assert part in out
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["network"]["init_args"]["norm"]["class_path"] == "lmkit.layers.RMSNorm"
    assert config["trainer"]["precision"] == "32-true"


@pytest.mark.slow
def test_the_full_configuration_of_a_run_makes_the_same_run(run, toy):
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    code, _, errors = run("fit", "-c", "runs/gpt-small/version_0/config.yaml")
    assert code == 0, errors
    assert rows("runs/gpt-small/version_1") == rows("runs/gpt-small/version_0")


MIXTURE = [
    "--model.network.feed_forward=MixtureOfExperts",
    "--model.network.feed_forward.experts=4",
    "--model.network.feed_forward.router=SigmoidRouter",
    "--model.network.feed_forward.router.rate=0.1",
    "--model.network.pattern=[{attention: GatedDeltaNet}, {}]",
    "--model.multi_token=MultiToken",
]
"""Layers that keep a state of their own beside what the optimizer changes."""


@pytest.mark.parametrize(
    "parts", [pytest.param([], id="gpt"), pytest.param(MIXTURE, id="mixture", marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_exactly(run, toy, parts):
    toy = [*toy, *parts]
    assert run("fit", "-c", RECIPE, *toy, *LONG, *DROPOUT, "--name=whole")[0] == 0
    name = f"Kill{len(parts)}"  # classes outlive a test
    Path(f"{name}.py").write_text(KILL.replace("Kill", name))
    killed = [*toy, *LONG, *DROPOUT, "--name=killed"]
    with pytest.raises(SystemError, match="killed"):
        run("fit", "-c", RECIPE, *killed, f"--plugins={name}.py", f"--trainer.callbacks={name}")
    code, _, errors = run("fit", "-c", RECIPE, *killed, "--ckpt_path", "last")
    assert code == 0, errors
    assert not Path("runs/killed/version_1").exists()
    for one, other in zip(rows("runs/whole/version_0"), rows("runs/killed/version_0"), strict=True):
        assert one == other
    assert len(rows("runs/killed/version_0")[0]) == 10
    weights = [torch.load(f"runs/{name}/version_0/checkpoints/last.ckpt")["state_dict"] for name in ("whole", "killed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_a_finished_run_can_be_made_longer(run, toy):
    steady = ["--model.schedule=Constant"]
    toy = [option for option in toy if not option.startswith("--model.schedule")]
    assert run("fit", "-c", RECIPE, *toy, *LONG, *steady, "--name=whole")[0] == 0
    assert run("fit", "-c", RECIPE, *toy, *LONG, *steady, "--trainer.max_steps=5", "--name=grown")[0] == 0
    assert run("fit", "-c", RECIPE, *toy, *LONG, *steady, "--name=grown", "--ckpt_path=last")[0] == 0
    assert rows("runs/grown/version_0")[0] == rows("runs/whole/version_0")[0]


@pytest.mark.slow
def test_options_of_the_optimizer_may_be_changed_on_the_way(run, toy):
    """A run that goes on with other options is one whose second half had them from the start."""
    toy = [option for option in toy if not option.startswith("--model.schedule")]
    common = ["fit", "-c", RECIPE, *toy, *LONG, "--model.schedule=Constant"]
    changed = ["--model.optimizer.lr=0.02", "--model.optimizer.weight_decay=0.5", "--ckpt_path=last"]
    assert run(*common, "--trainer.max_steps=5")[0] == 0
    assert run(*common, *changed)[0] == 0
    losses, _, rates, _ = rows("runs/gpt-small/version_0")
    assert [float(rate) for rate in rates.values()] == pytest.approx([0.0015] * 5 + [0.02] * 5)
    kept = torch.load("runs/gpt-small/version_0/checkpoints/last.ckpt", weights_only=True)
    groups = kept["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert [group["lr"] for group in groups] == [0.02, 0.02]
    assert len(losses) == 10


@pytest.mark.slow
def test_accumulation_does_not_change_the_run(run, toy, few):
    """Also where the micro-batches of a step have other numbers of valid tokens."""
    toy = [option for option in toy if "limit_val" not in option]
    common = ["fit", "-c", RECIPE, *toy, *few, "--trainer.precision=64-true", "--trainer.max_steps=8"]
    runs = {}
    for parts in (1, 2, 4):
        assert run(*common, f"--trainer.accumulate_grad_batches={parts}", f"--name=by{parts}")[0] == 0
        runs[parts] = rows(f"runs/by{parts}/version_0")
    for parts in (2, 4):
        for one, other in zip(runs[1], runs[parts], strict=True):
            assert [float(x) for x in one.values()] == pytest.approx([float(x) for x in other.values()], rel=1e-5)


@pytest.mark.slow
def test_other_commands_read_the_run(run, toy):
    toy = [option for option in toy if "limit_val" not in option]
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    reached = float(next(iter(rows("runs/gpt-small/version_0")[3].values())))
    code, out, errors = run("validate", "-c", RECIPE, *toy, "--ckpt_path=best")
    assert code == 0, errors
    assert float(re.search(r"val/loss\W+([\d.]+)", out)[1]) == pytest.approx(reached, rel=1e-6)
    assert "test/bits_per_byte" in run("test", "-c", RECIPE, *toy, "--ckpt_path=best")[1]
    assert run("predict", "-c", RECIPE, *toy, "--ckpt_path=best")[0] == 0
    lines = [json.loads(line) for line in Path("runs/gpt-small/version_0/predictions.jsonl").read_text().splitlines()]
    assert all(line["loss"] > 0 and line["tokens"] > 0 and line["text"] for line in lines)
    mean = sum(line["loss"] * line["tokens"] for line in lines) / sum(line["tokens"] for line in lines)
    assert mean == pytest.approx(reached, rel=1e-5)


@pytest.mark.slow
def test_what_reads_a_run_leaves_its_record(run, toy):
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    record = Path("runs/gpt-small/version_0/config.yaml")
    before = record.read_bytes()
    assert run("fit", "-c", record, "--ckpt_path=last", "--trainer.max_steps=3")[0] == 0
    assert yaml.safe_load(record.read_text())["ckpt_path"] is None
    assert run("validate", "-c", record, "--ckpt_path=best")[0] == 0
    assert record.read_bytes() == before.replace(b"max_steps: 2", b"max_steps: 3")


@pytest.mark.slow
def test_a_recipes_own_checkpoints_come_beside_ours(run, toy):
    own = "--trainer.callbacks={class_path: ModelCheckpoint, init_args: {every_n_train_steps: 1, save_top_k: -1}}"
    assert run("fit", "-c", RECIPE, *toy, own)[0] == 0
    names = {path.name for path in Path("runs").rglob("*.ckpt")}
    assert {"best.ckpt", "last.ckpt"} < names
    assert any("step=1" in name for name in names)


@pytest.mark.slow
def test_a_run_in_bf16_counts_and_measures_in_float32(run, toy):
    losses = {}
    for precision in ("32-true", "bf16-true"):
        assert run("fit", "-c", RECIPE, *toy, f"--trainer.precision={precision}", f"--name={precision}")[0] == 0
        losses[precision] = [float(x) for x in rows(f"runs/{precision}/version_0")[3].values()]
    assert losses["bf16-true"] == pytest.approx(losses["32-true"], rel=0.02)
    assert losses["bf16-true"][0] != torch.tensor(losses["bf16-true"][0]).bfloat16().item()


def test_generate_reads_a_run_without_its_recipe_or_texts(run, toy):
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    options = ["--prompt", "the cat", "--count=40", "--seed=3"]
    code, text, errors = run("generate", "runs/gpt-small", *options)
    assert code == 0, errors
    assert text.startswith("the cat")
    assert run("generate", "runs/gpt-small/version_0/checkpoints/best.ckpt", *options)[1] == text
    assert run("generate", "runs/gpt-small", *options, "--cached=false")[1] == text
    assert run("generate", "runs/gpt-small", "--prompt=the cat", "--count=40", "--seed=4")[1] != text
    several = run("generate", "runs/gpt-small", *options, "--samples=3", "--top_k=5", "--top_p=0.9")[1]
    assert several.count("--- sample") == 3


def test_a_plugin_is_used_by_its_name_and_found_again(run, toy):
    own = f"plugins: [{ROOT}/plugins/differential_attention.py]\n"
    own += "model: {init_args: {network: {init_args: {attention: DifferentialAttention}}}}"
    Path("differential.yaml").write_text(own)
    code, _, errors = run("fit", "-c", RECIPE, "-c", "differential.yaml", *toy)
    assert code == 0, errors
    checkpoint = Path("runs/gpt-small/version_0/checkpoints/last.ckpt")
    assert type(rebuild(checkpoint).network.blocks[0].attention).__name__ == "DifferentialAttention"
    config = yaml.safe_load(Path("runs/gpt-small/version_0/config.yaml").read_text())
    assert config["plugins"] == [str(ROOT / "plugins/differential_attention.py")]


def test_a_checkpoint_says_which_plugin_it_lacks(run, toy):
    moved = Path("moved.py")
    text = (ROOT / "plugins/differential_attention.py").read_text()
    moved.write_text(text.replace("DifferentialAttention", "MovedAttention"))
    assert run("fit", "-c", RECIPE, *toy, "--plugins=moved.py", "--model.network.attention=MovedAttention")[0] == 0
    moved.rename("elsewhere.py")
    code, _, errors = run("generate", "runs/gpt-small")
    assert code == 2
    assert "moved.py" in errors


ALONE = [path for path in sorted(RECIPES.glob("*.yaml")) if "runs/" not in str(yaml.safe_load(path.read_text()))]
"""Recipes that need no other run; the others are run by tests of their tasks."""


LONGER = {"t5-small", "hybrid-small", "deepseek-small", "gpt2-124m", "dynamic-tanh"}


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONGER else []) for path in ALONE],
)
def test_every_recipe_runs_two_steps_at_toy_size(run, toy, recipe):
    if recipe.stem in ("bert-small", "t5-small"):  # whose tasks have token ids of their own
        toy = [option.replace("vocab_size=300", "vocab_size=310") if "network" in option else option for option in toy]
    if recipe.stem == "t5-small":
        both = [o.replace(".network.", f".network.{part}.") for o in toy for part in ("encoder", "decoder")]
        toy = [*dict.fromkeys(both), "--model.network.decoder.block.cross.heads=4"]
    if recipe.stem in ("deepseek-small", "hybrid-small"):  # whose pattern has four layers
        toy = [option.replace("depth=2", "depth=4") for option in toy]
    code, out, errors = run("fit", "--config", recipe, *toy)
    assert code == 0, errors
    assert f"{recipe.stem}: 2 optimizer steps" in out


@pytest.mark.slow
def test_the_options_of_the_issue_override_a_recipe(run, toy):
    for options in (
        ["--model.network.norm=RMSNorm", "--model.network.norm.eps=1e-5"],
        ["--model.network.position=ALiBi"],
        ["--model.network.feed_forward=Gated", "--model.network.feed_forward.activation=GELU"],
        ["--data.documents=separate"],
    ):
        code, _, errors = run("fit", "-c", RECIPE, *toy, *options)
        assert code == 0, errors
    config = yaml.safe_load(Path("runs/gpt-small/version_0/config.yaml").read_text())
    assert config["model"]["init_args"]["network"]["init_args"]["norm"]["init_args"]["eps"] == 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "option",
    [
        "--model.network.attention.qk_norm=null",
        "--model.network.attention={class_path: SelfAttention, init_args: {qk_norm: null, window: null}}",
    ],
)
def test_a_part_is_taken_out_of_a_recipe_by_null(run, toy, option):
    code, _, errors = run("fit", "-c", RECIPE, *toy, option, "--model.network.attention.window=null")
    assert code == 0, errors
    config = yaml.safe_load(Path("runs/gpt-small/version_0/config.yaml").read_text())
    attention = config["model"]["init_args"]["network"]["init_args"]["attention"]["init_args"]
    assert attention["qk_norm"] is None
    assert attention["window"] is None


def test_a_number_of_batches_is_no_share_of_them(run, capsys):
    options = ["--trainer.limit_val_batches=1", "--trainer.limit_train_batches=0.5", "--print_config"]
    with pytest.raises(SystemExit):
        run("fit", "-c", RECIPES / "gpt-small.yaml", *options)
    out = capsys.readouterr().out
    assert "limit_val_batches: 1\n" in out
    assert "limit_train_batches: 0.5\n" in out
