"""Every mistake gets one line that names a remedy, and exit code 2; nothing is left behind."""

import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy

from lmkit.callbacks.report import report
from lmkit.cli.explain import explain
from lmkit.cli.generate import _parser
from lmkit.cli.runs import new_folder
from lmkit.errors import UserError
from lmkit.network import Decoder
from lmkit.tasks import Pretraining
from lmkit.tasks.checks import check_trainer
from tests.conftest import RECIPES

HALF = """
import torch
from lmkit.layers import Norm

class Half(Norm):
    def __init__(self, dim: int):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * self.scale
"""
KILLED_BY_HAND = """
from lightning import Callback

class StopByHand(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == {step}:
            raise KeyboardInterrupt
"""
RECIPE = RECIPES / "gpt-small.yaml"


MISTAKES = [
    (
        ["--model.network.norm=RMSNrm"],
        ["model.network.norm", "RMSNrm", "did you mean RMSNorm (lmkit.layers.norms)"],
    ),
    (["--model.network.norm=SelfAttention"], ["needs a Norm", "SelfAttention is an Attention", "LayerNorm"]),
    (["--model.network.norm.epps=1"], ["RMSNorm has no parameter epps", "did you mean eps?"]),
    (["--model.netwrk.dim=32"], ["Pretraining has no parameter netwrk", "did you mean network?"]),
    (["--model.network.nrom=RMSNorm"], ["Decoder has no parameter nrom", "did you mean norm?"]),
    (["--model.network.norm=null"], ["model.network.norm is null", "`lmkit plugins list norm`"]),
    (["--model.optimizer=null"], ["model.optimizer is null", "`lmkit plugins list optimizer`"]),
    (["--data.validation_fraction=null"], ["data.validation_fraction is null", "it must be float"]),
    (["--data.context=null"], ["data.context is null", "it must be int"]),
    (["--data.source=null"], ["data.source is null", "`lmkit plugins list source`"]),
    (["--model.optimizer.lr=null"], ["model.optimizer.lr is null", "float"]),
    (["--model.network.norm.eps=null"], ["model.network.norm.eps is null", "it must be float"]),
    (["--model.network.feed_forward.activation=null"], ["model.network.feed_forward.activation is null"]),
    (["--model.network=Encoder"], ["model.network needs a Decoder, but Encoder is none", "plugins show Encoder"]),
    (["--model.network.pattern=[{atention: SelfAttention}]"], ["Layer has no parameter atention", "attention"]),
    (["--model.network.pattern=[{attention: Atention}]"], ["no Attention is called Atention", "SelfAttention"]),
    (["--model.network.pattern=[{repeat: 9}]"], ["the pattern has 9 layers, but the network only 2"]),
    (["--model.network.block=CrossPreNorm"], ["model.network.block.cross must be given: add --model"]),
    (["--model.network.attention=CrossAttention"], ["use it in an EncoderDecoder only"]),
    (
        ["--model.network.attention.head_dim=16"],
        ["rotates 8 numbers", "have 16: set the position"],
    ),
    (["--model.network.feed_forward.activation=ReluSquare"], ["no Activation is called", "ReLUSquared"]),
    (["--model.schedule=Cosine"], ["no Schedule is called Cosine", "WarmupCosine"]),
    (["--model.optimizer=AdmW"], ["no Optimizer is called AdmW", "AdamW"]),
    (["--model=Pretrainin"], ["Pretraining (lmkit.tasks.pretraining)"]),
    (["--data=Txt"], ["Text (lmkit.data.text)"]),
    (["--data.sorce=x"], ["Text has no parameter sorce", "source"]),
    (["--trainer.max_stepz=3"], ["no option --trainer.max_stepz", "--trainer.max_steps"]),
    (["--model.network.dim=wide"], ["model.network.dim is wide", "int"]),
    (["--model.network.attention.window=x"], ["model.network.attention.window is 'x'", "int"]),
    (["--data.documents=seperate"], ["data.documents is seperate", "'joined' or 'separate'"]),
    (["--trainer.precision=fp99"], ["trainer.precision is fp99", "bf16-mixed"]),
    (["--trainer.max_steps=-1"], ["set trainer.max_steps"]),
    (["--trainer.max_steps=-5"], ["the trainer cannot be made", "-5"]),
    (["--trainer.accumulate_grad_batches=0"], ["trainer.accumulate_grad_batches is 0: give 1 or more"]),
    (["--trainer.log_every_n_steps=-1"], ["trainer.log_every_n_steps is -1"]),
    (["--trainer.gradient_clip_val=-1"], ["trainer.gradient_clip_val is -1.0"]),
    (["--trainer.accelerator=gpux"], ["the trainer cannot be made", "gpux"]),
    (["--trainer.logger=CSVLogger"], ["add --trainer.logger.save_dir"]),
    (["--model.optimizer.lr=-1"], ["the optimizer cannot be made", "-1.0", "--model.optimizer"]),
    (["--model.optimizer.lr=nan"], ["model.optimizer.lr is nan"]),
    (["--model.chunk=0"], ["chunk is 0", "1 or more"]),
    (["--model.network.heads=0"], ["heads is 0", "model.network.heads"]),
    (["--data.workers=-1"], ["workers is -1"]),
    (["--data.batch_size=0"], ["batch_size is 0", "1 or more"]),
    (["--data.source="], ["the source is empty"]),
    (["--seed_everything=-1"], ["seed_everything", "-1"]),
    (["--name=../elsewhere"], ["'../elsewhere'", "give one word"]),
    (["--plugins=empty"], ["the plugin folder", "holds no .py file"]),
    (["--model.network.heads=3"], ["dim 32 over 3 heads", "choose dim as a multiple of 6"]),
    (
        ["--model.network.heads=5", "--model.network.position=ALiBi"],
        ["heads must divide dim", "1, 2, 4, 8, 16, 32"],
    ),
    (["--model.network.attention.kv_heads=3"], ["kv_heads must divide heads", "1, 2, 4"]),
    (["--model.network.vocab_size=200"], ["tokenizer has 300 token ids", "at least 300"]),
    (["--data.context=128"], ["rows of data are 128 tokens", "model.network.context"]),
    (["--model.schedule.warmup=3"], ["warmup", "the run has 2", "trainer.max_steps"]),
    (["--data.batch_size=5", "--trainer.accumulate_grad_batches=2"], ["batch_size 5", "give a multiple of 2"]),
    (
        ["--trainer.accumulate_grad_batches=4", "--trainer.limit_train_batches=6"],
        ["limit_train_batches", "in the midst of an optimizer step of 4"],
    ),
    (["--data.source=nowhere"], ["nowhere"]),
    (["--data.source=Fils"], ['no file, folder or glob matches the source "Fils"', "or the class of a source"]),
    (["--data.source={class_path: Fils}"], ["no Source is called Fils: did you mean Files"]),
    (["--data.source={class_path: Files, init_args: {pth: x}}"], ["Files has no parameter pth: did you mean path"]),
    (["--data.source={class_path: Files, init_args: {path: ''}}"], ["the source is empty"]),
    (["--data.source={class_path: RMSNorm}"], ["data.source needs a Source, but RMSNorm is a Norm"]),
    (["--data.source=Files"], ["data.source.path must be given: add --data.source.path"]),
    (["--data.validation_source={class_path: Fils}"], ["data.validation_source: no Source is called Fils"]),
    (["--data.filters=Length"], ["data.filters is Length, but it must be list"]),
    (["--data.filters=[Lenth]"], ["no Filter is called Lenth: did you mean Length"]),
    (["--data.filters=[StandardLibrary]"], ["data.filters needs a Filter, but StandardLibrary is a Source"]),
    (["--data.filters=[{class_path: Length, init_args: {min_bytes: -1}}]"], ["min_bytes is -1"]),
    (
        ["--data.filters=[{class_path: Length, init_args: {min_bytes: 9000000}}]"],
        ["leave no document of the source", "Length removed 40 of 40", "less than 9000000 bytes"],
    ),
    (["--data.source=empty"], ["empty"]),
    (["--data.tokenizer=nowhere.json"], ["nowhere.json"]),
    (["--plugins=nowhere.py"], ["no plugin nowhere.py"]),
    (["--model.network.norm.eps=-1"], ["eps is -1", "not negative"]),
    (["--model.network.feed_forward.hidden=-4"], ["hidden is -4", "1 or more"]),
    (["--model.network.attention.head_dim=5"], ["width", "to 4 or less"]),
    (
        ["--model.network.position=ALiBi", "--model.network.pattern=[{position: Rotary}, {position: NoPosition}]"],
        ["no layer hears the position ALiBi", "positions of their own", "NoPosition"],
    ),
    (
        ["--model.network.pattern=[{attention: GatedDeltaNet, position: RelativeBias}, {repeat: 1}]"],
        ["no layer hears the position RelativeBias", "GatedDeltaNet"],
    ),
    (
        ["--model.network.position=RelativeBias", "--model.network.position.both_ways=true"],
        ["both_ways of RelativeBias is true", "a decoder looks back only: set it to false"],
    ),
    (["--model.network.attention=GatedDeltaNet"], ["no layer hears the position Rotary", "NoPosition"]),
    (["--model.network.depth=0"], ["depth is 0", "model.network.depth"]),
    (["--model.network.block.dropout=1.5"], ["the network cannot be built", "dropout"]),
    (["--plugins=half.py", "--model.network.norm=Half"], ["Half owns scale but has no reset_parameters"]),
    (["--model=Task"], ["Task has no loss", "--model=Pretraining"]),
    (["--plugins=broken.py"], ["broken.py", "does not import", "ZeroDivisionError"]),
    (["--ckpt_path=last"], ["start without --ckpt_path"]),
    (["--ckpt_path=nowhere.ckpt"], ["no checkpoint at nowhere.ckpt"]),
    (["--ckpt_path=text.ckpt"], ["text.ckpt", "truncated or not a checkpoint"]),
    (["--config=nowhere.yaml"], ["no recipe nowhere.yaml"]),
    (["--config=broken.yaml"], ["broken.yaml is not YAML"]),
    (["--config=list.yaml"], ["list.yaml is not a recipe"]),
]


@pytest.mark.parametrize(
    ("options", "parts"),
    [pytest.param(*row, marks=pytest.mark.slow if n % 2 else ()) for n, row in enumerate(MISTAKES)],
)
def test_a_mistake_gets_one_line(run, toy, options, parts):
    Path("empty").mkdir()
    Path("broken.py").write_text("1 / 0")
    Path("half.py").write_text(HALF)
    Path("broken.yaml").write_text("model: [")
    Path("list.yaml").write_text("- 1")
    Path("text.ckpt").write_text("not a checkpoint")
    code, _, errors = run("fit", "--config", RECIPE, *toy, *options)
    lines = [line for line in errors.splitlines() if line.startswith("lmkit: error:")]
    assert code == 2, errors
    assert len(lines) == 1
    assert "Traceback" not in errors
    for part in parts:
        assert part in lines[0]
    assert not list(Path("runs").rglob("*.*"))


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config", "x.yaml", "fit"], ["--config came before the command", "lmkit fit --config"]),
        (["fot"], ["no command fot", "did you mean fit?"]),
        (["fit"], ["data, model must be given", "--config recipes/gpt-small.yaml"]),
        (["fit", "--model=Pretraining", "--data=Text"], ["model.network must be given", "--config"]),
        (["validate", "--config", RECIPE], ["--ckpt_path best"]),
        (["generate", "nowhere"], ["no checkpoint at nowhere"]),
        (["generate"], ["checkpoint"]),
        (["generate", "x", "--temprature=1"], ["no option --temprature", "--temperature"]),
        (["generate", "x", "--max-new-tokens=9"], ["no option --max-new-tokens: did you mean --count?"]),
        (["chat", "x", "--batch_size=2"], ["no option --batch_size: `--help`"]),
        (["fit", "--config", RECIPE, "--learning_rate=1"], ["did you mean --model.optimizer.lr?"]),
        (["generate", "x", "--top_p=2"], ["top_p is 2"]),
        (["generate", "x", "--count=0"], ["--count is 0"]),
        (["generate", "x", "--seed=-1"], ["seed is -1"]),
        (["generate", "x", "--prompt=\udcff"], ["bytes are not UTF-8"]),
        (["chat", "x", "--system=\udcff"], ["--system is '\\udcff', whose bytes are not UTF-8"]),
        (["fit", "--config", RECIPE, "--strict"], ["did you mean --data.strict?"]),
        (["fit", "--model.network.norm=LayerNorm"], ["no recipe is named", "--config recipes/gpt-small.yaml"]),
        (["fit", "--config"], ["--config came without a value"]),
    ],
)
def test_a_mistaken_command_gets_one_line(run, arguments, parts):
    code, _, errors = run(*arguments)
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    assert all(part in errors for part in parts), errors


@pytest.mark.parametrize("prompt", ["{x", "[", "None", "null", "12", "a: b", "'", "*x", "def f(x): {"])
def test_a_prompt_is_text_whatever_yaml_it_looks_like(prompt):
    assert _parser().parse(["runs", "--prompt", prompt]).prompt == prompt


def test_a_misspelt_name_in_a_recipe_is_explained_as_on_the_command_line(run, toy):
    text = RECIPE.read_text()
    Path("one.yaml").write_text(text.replace("norm: RMSNorm", "norm: RMSNrm", 1))
    Path("two.yaml").write_text(text.replace("dim:", "dimm:"))
    Path("three.yaml").write_text(text.replace("max_steps", "max_stepz"))
    assert "did you mean RMSNorm" in run("fit", "-c", "one.yaml")[2]
    assert "Decoder has no parameter dimm: did you mean dim?" in run("fit", "-c", "two.yaml")[2]
    assert "did you mean --trainer.max_steps" in run("fit", "-c", "three.yaml")[2]


def test_a_message_of_unknown_wording_is_kept():
    assert explain("something\n  went wrong") == "something went wrong"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "-c", RECIPES / "adapters/lora.yaml"], "(before one of recipes/adapters), or a network to start from"),
        (["fit", "-c", RECIPES / "dpo.yaml", "--model.init_from=null"], "as in `--model.init_from=runs/gpt-small`"),
        (["chat", "runs/sft", "more"], "more is one word too many"),
        (["fit", "data.batch_size=8"], "data.batch_size=8 is one word too many: write --data.batch_size=8"),
        (["generate", "hub"], "it is a Hugging Face folder; take it in by `lmkit import hub NAME`"),
        (["generate", "adapter"], "it is an adapter of peft, which is no network by itself"),
    ],
)
def test_what_is_missing_or_of_another_kind_is_said_with_what_to_do(run, arguments, said):
    for folder, file in (("hub", "config.json"), ("adapter", "adapter_config.json")):
        Path(folder).mkdir()
        (Path(folder) / file).write_text("{}")
    code, _, errors = run(*arguments)
    assert code == 2
    assert said in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_checkpoint_that_is_truncated_or_holds_no_numbers_is_named(run, toy):
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    checkpoint = Path("runs/gpt-small/version_0/checkpoints/last.ckpt")
    whole = checkpoint.read_bytes()
    held = torch.load(checkpoint)
    held["state_dict"]["network.embedding.weight"][3, 2] = float("nan")
    torch.save(held, checkpoint)
    for arguments in (["fit", "-c", RECIPE, *toy, f"--model.init_from={checkpoint}"], ["generate", checkpoint]):
        code, _, errors = run(*arguments)
        assert code == 2
        assert "last.ckpt holds weights that are infinite or no numbers (NaN), such as embedding.weight" in errors
    code, _, errors = run("validate", "-c", RECIPE, *toy, "--ckpt_path=last")
    assert code == 2
    assert "the checkpoint holds weights that are infinite or no numbers (NaN), such as network.embedding" in errors
    checkpoint.write_bytes(whole[: len(whole) // 2])
    for arguments in (["fit", "-c", RECIPE, *toy, "--ckpt_path=last"], ["generate", checkpoint]):
        code, _, errors = run(*arguments)
        assert code == 2
        assert "last.ckpt" in errors
        assert "is truncated" in errors


@pytest.mark.slow
def test_a_plugin_that_takes_the_name_of_a_built_in_class_is_refused(tmp_path, toy):
    (tmp_path / "twin.py").write_text(HALF.replace("Half", "RMSNorm"))
    # in a process of its own, because a class stays in the tree
    command = [sys.executable, "-m", "lmkit.cli.main", "fit", "-c", str(RECIPE), *toy, "--plugins=twin.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "two classes of the kind Norm are called RMSNorm" in done.stderr
    assert f"one is {tmp_path}/twin.py, the other built-in (lmkit.layers.norms)" in done.stderr


def test_a_run_that_is_lost_ends_with_one(run, toy):
    code, _, errors = run("fit", "-c", RECIPE, *toy, "--model.optimizer.lr=1e30", "--trainer.max_steps=9")
    assert code == 1
    assert "the gradients are no longer finite at optimizer step" in errors.splitlines()[-1]


OTHER = {
    "--model.network.dim=48": "model.network.dim was 32 and is 48",
    # of the same shapes, so that its tensors would be loaded
    "--model.network.heads=2": "model.network.heads was 4 and is 2",
    "--model.network.position.base=100": "model.network.position.base was 10000.0 and is 100.0",
    "--model.network.feed_forward.activation=GELU": "activation was lmkit.layers.ReLUSquared and is",
}


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "validate"])
def test_a_checkpoint_of_another_model_is_refused(run, toy, command):
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    checkpoint = Path("runs/gpt-small/version_0/checkpoints/last.ckpt")
    before = checkpoint.read_bytes()
    for option, told in OTHER.items():
        code, _, errors = run(command, "-c", RECIPE, *toy, option, "--ckpt_path=last")
        assert code == 2
        assert "the checkpoint is of another model" in errors
        assert told in errors
    options = ["--model.optimizer=SGD", "--model.optimizer.lr=0.1", "--ckpt_path=last"]
    code, _, errors = run("fit", "-c", RECIPE, *toy, *options)
    assert code == 2
    assert "model.optimizer was torch.optim.AdamW and is torch.optim.SGD" in errors
    code, _, errors = run("fit", "-c", RECIPE, *toy, "--ckpt_path=last")
    assert code == 2
    assert "last.ckpt has taken 2 of trainer.max_steps 2: give a larger trainer.max_steps" in errors
    assert checkpoint.read_bytes() == before


def test_runs_that_start_together_have_a_folder_each(tmp_path):
    made = [new_folder(tmp_path, "run") for _ in range(2)]
    assert [path.name for path in made] == ["version_0", "version_1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "glob", lambda *_: [])  # as seen by one that looked before the others made theirs
        assert new_folder(tmp_path, "run").name == "version_2"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(UserError, match=r"cannot make the run's folder .*trainer\.default_root_dir"):
        new_folder(tmp_path, "run")


def test_a_part_that_fails_leaves_no_folder(run, toy):
    text = HALF.replace("Half", "Fails").replace(
        "return x * self.scale", "return 1 / 0 if torch.is_grad_enabled() else x"
    )
    Path("fails.py").write_text(text + "    reset_parameters = lambda self: torch.nn.init.ones_(self.scale)\n")
    with pytest.raises(ZeroDivisionError):
        run("fit", "-c", RECIPE, *toy, "--plugins=fails.py", "--model.network.norm=Fails")
    assert not Path("runs").exists()


def test_parts_that_do_not_fit_are_told_before_data_is_prepared(run, toy):
    wide = HALF.replace("Half", "Wide").replace(
        "return x * self.scale", "return torch.cat([x, self.scale.expand_as(x)], -1)"
    )
    Path("wide.py").write_text(wide + "    reset_parameters = lambda self: torch.nn.init.ones_(self.scale)\n")
    code, _, errors = run(
        "fit", "-c", RECIPE, *toy, "--plugins=wide.py", "--model.network.norm=Wide", "--data.source=no"
    )
    assert code == 2
    assert "the network cannot be run: RuntimeError" in errors
    assert "lmkit plugins check" in errors
    assert "Traceback" not in errors


def test_a_part_that_needs_its_numbers_runs(run, toy):
    asks = HALF.replace("Half", "Asks").replace("return x", "assert self.scale.sum().item() > 0\n        return x")
    Path("asks.py").write_text(asks + "    reset_parameters = lambda self: torch.nn.init.ones_(self.scale)\n")
    code, _, errors = run("fit", "-c", RECIPE, *toy, "--plugins=asks.py", "--model.network.norm=Asks")
    assert code == 0, errors


@pytest.mark.slow
def test_a_trial_leaves_the_runs_that_are_there_alone(run, toy):
    code, _, errors = run("fit", "-c", RECIPE, *toy)
    assert code == 0, errors
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    assert any(path.name == "last.ckpt" for path in before)
    code, _, errors = run("fit", "-c", RECIPE, *toy, "--trainer.fast_dev_run=true")
    assert code == 0, errors
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before
    code, _, errors = run("fit", "-c", RECIPE, *toy, "--trainer.fast_dev_run=true", "--name=trial")
    assert code == 0, errors
    assert not Path("runs/trial").exists()


def test_stopped_by_hand_it_says_how_to_go_on(run, toy):
    stop = KILLED_BY_HAND.format(step=3)
    Path("stop.py").write_text(stop)
    options = [*toy, "--trainer.max_steps=5", "--trainer.val_check_interval=2"]
    code, _, errors = run("fit", "-c", RECIPE, *options, "--plugins=stop.py", "--trainer.callbacks=StopByHand")
    assert code == 130
    assert "lmkit: interrupted; --ckpt_path last goes on from its last validation" in errors
    assert run("fit", "-c", RECIPE, *options, "--ckpt_path=last")[0] == 0


@pytest.mark.parametrize("strategy", ["fsdp", "ModelParallelStrategy"])
def test_what_shards_a_network_is_refused(strategy):
    with pytest.raises(UserError, match=r"does not yet train on shards .* set trainer\.strategy to ddp or auto"):
        made = FSDPStrategy() if strategy == "fsdp" else ModelParallelStrategy()
        check_trainer(SimpleNamespace(strategy=made))


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("fsdp", "fsdp"),
        ("deepspeed_stage_2", "deepspeed_stage_2"),
        ("FSDPStrategy", "FSDPStrategy"),
        ("{class_path: FSDPStrategy, init_args: {cpu_offload: true}}", "FSDPStrategy"),
    ],
)
def test_that_is_said_before_its_devices_are_looked_for(run, toy, strategy, name):
    code, _, errors = run("fit", "-c", RECIPE, *toy, f"--trainer.strategy={strategy}")
    assert code == 2
    assert f"trainer.strategy is {name}, but lmkit does not yet train on shards of a network" in errors


def test_a_strategy_with_options_of_its_own_is_taken(run, toy):
    one = "{class_path: SingleDeviceStrategy, init_args: {device: cpu}}"
    code, _, errors = run("fit", "-c", RECIPE, *toy, f"--trainer.strategy={one}")
    assert code == 0, errors


@pytest.mark.slow
def test_output_that_nobody_reads_any_more_ends_quietly(run, toy):
    assert run("fit", "-c", RECIPE, *toy)[0] == 0
    generate = f"{sys.executable} -m lmkit.cli.main generate runs/gpt-small --count 300"
    done = subprocess.run(f"{generate} | head -c 3", shell=True, capture_output=True)
    assert len(done.stdout) == 3
    assert done.stderr == b""


def test_control_characters_do_not_reach_the_terminal():
    told = report({}, None, "a\x1b[31mb\tc", "heading", [])
    assert "a\\x1b[31mb\tc" in told


def test_weights_without_a_recipe_that_do_not_fit_are_refused():
    task = Pretraining(partial(Decoder, 50, 16, 24, 2, 4))
    task.configure_model()
    with pytest.raises(UserError, match=r"the checkpoint is of another network .*size mismatch"):
        task.load_state_dict({"network.embedding.weight": torch.zeros(3, 3)}, strict=False)


def test_no_space_left_is_one_line_and_leaves_nothing_half_written(run, toy, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    code, _, errors = run("fit", "-c", RECIPE, *toy)
    assert code == 2
    assert "No space left on device" in errors
    assert "make room" in errors
    assert not [path for path in Path("runs").rglob("*") if "ckpt" in path.name]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_recognised_in_what_torch_raises(tmp_path):
    from lmkit.checkpoints import AtomicCheckpoints

    (tmp_path / ".x.ckpt.0.partial").symlink_to("/dev/full")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="No space left"):
        patch.setattr("os.getpid", lambda: 0)
        AtomicCheckpoints().save_checkpoint({"x": torch.zeros(10_000_000)}, tmp_path / "x.ckpt")
    assert not shutil.os.listdir(tmp_path)
