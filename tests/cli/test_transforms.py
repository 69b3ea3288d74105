"""Transforms in a recipe: from their mistakes to a network that is rebuilt with them."""

import logging
from pathlib import Path

import pytest
import torch
import yaml

from lmkit.cli.rehearsal import Rehearsal
from lmkit.cli.resume import check_same_loss, check_same_model
from lmkit.errors import UserError
from lmkit.hf.rebuilding import rebuild
from tests.cli.test_fit import KILL, LONG, rows
from tests.conftest import RECIPES

RECIPE = RECIPES / "gpt-small.yaml"
BOTH = "--model.transforms=[{class_path: Freeze, init_args: {names: [embedding.*]}}, Checkpointing]"
FREEZE, NAMES = "--model.transforms=[Freeze]", "--model.transforms.names=[embedding.*]"
CHECKPOINTING = "--model.transforms=[Checkpointing]"

BESIDE = '''
"""A low-rank product beside a matrix, which changes the network's tensors and what it computes."""
import torch
from torch import nn
from lmkit.layers import Linear
from lmkit.network import Network
from lmkit.transforms import Transform


class With(nn.Module):
    def __init__(self, old, rank):
        super().__init__()
        self.old = old
        with old.weight.device:
            self.down, self.up = Linear(old.in_features, rank), Linear(rank, old.out_features, std=0.1)

    def forward(self, x):
        return self.old(x) + self.up(self.down(x))


class {name}(Transform):
    """Adds a product.

    Args:
        rank: of it.
    """

    def __init__(self, rank: int = 2) -> None:
        self.rank = rank

    def __call__(self, network: Network) -> Network:
        """The same network, changed."""
        for block in network.blocks:
            block.feed_forward.out = With(block.feed_forward.out, self.rank)
        return network
'''


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("[Freze]", ["model.transforms: no Transform is called Freze: did you mean Freeze (lmkit.transforms.freeze)?"]),
        ("[RMSNorm]", ["model.transforms needs a Transform, but RMSNorm is a Norm"]),
        ("Checkpointing", ["model.transforms is Checkpointing, but it must be list"]),
        ("[{class_path: Checkpointing, init_args: {evry: 2}}]", ["Checkpointing has no parameter evry", "every"]),
        ("[{class_path: Checkpointing, init_args: {every: 3}}]", ["every is 3, but the network has 2 blocks"]),
        (
            "[{class_path: Freeze, init_args: {names: [embeding.*]}}]",
            ["'embeding.*'", "did you mean embedding.weight?"],
        ),
        ("[{class_path: Freeze, init_args: {names: embedding.*}}]", ["names is embedding.*, but it must be list"]),
        ("[{class_path: Freeze, init_args: {names: ['*']}}]", ["nothing of the network is left to learn after Freeze"]),
    ],
)
def test_a_mistake_gets_one_line_before_data_is_prepared(run, toy, monkeypatch, value, parts):
    monkeypatch.setattr("lmkit.data.text.prepare", lambda *_, **__: pytest.fail("prepared"))
    code, _, errors = run("fit", "-c", RECIPE, *toy, f"--model.transforms={value}")
    assert code == 2
    (line,) = [line for line in errors.splitlines() if line.startswith("lmkit: error: ")]
    assert "Traceback" not in errors
    for part in parts:
        assert part in line
    assert not [path for path in Path().rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_killed_run_goes_on_exactly_and_checkpointing_may_come_and_go(run, toy):
    options = ["fit", "-c", RECIPE, *toy, *LONG, "--trainer.max_steps=8", "--model.network.block.dropout=0.1"]
    options += [f"--model.network.feed_forward{part}" for part in ("=MixtureOfExperts", ".router=SigmoidRouter")]
    assert run(*options, FREEZE, NAMES, "--name=whole")[0] == 0
    Path("KillFrozen.py").write_text(KILL.replace("Kill", "KillFrozen"))
    with pytest.raises(SystemError, match="killed"):
        run(*options, BOTH, "--name=killed", "--plugins=KillFrozen.py", "--trainer.callbacks=KillFrozen")
    begun = torch.load("runs/killed/version_0/checkpoints/last.ckpt")
    code, _, errors = run(*options, FREEZE, NAMES, "--name=killed", "--ckpt_path=last")
    assert code == 0, errors
    assert rows("runs/whole/version_0") == rows("runs/killed/version_0")
    whole, killed = (torch.load(f"runs/{name}/version_0/checkpoints/last.ckpt") for name in ("whole", "killed"))
    for name, value in killed["state_dict"].items():
        assert torch.equal(value, whole["state_dict"][name])
    embeddings = [kept["state_dict"]["network.embedding.weight"] for kept in (begun, killed)]
    assert torch.equal(*embeddings)
    parameters = [name for name in killed["state_dict"] if not name.endswith("router.bias")]
    assert len(killed["optimizer_states"][0]["state"]) == len(parameters) - 1


@pytest.mark.slow
def test_a_plugin_that_changes_the_network_is_trained_validated_and_rebuilt(run, toy):
    Path("beside.py").write_text(BESIDE.replace("{name}", "Beside"))
    transforms = [{"class_path": "Freeze", "init_args": {"names": ["*"]}}, {"class_path": "Beside"}]
    Path("mine.yaml").write_text(
        yaml.safe_dump({"plugins": ["beside.py"], "model": {"init_args": {"transforms": transforms}}})
    )
    options = ["-c", RECIPE, "-c", "mine.yaml", *toy, "--name=mine"]
    code, _, errors = run("fit", *options)
    assert code == 0, errors
    path = Path("runs/mine/version_0/checkpoints/last.ckpt")
    kept = torch.load(path)
    learned = [name for name in kept["state_dict"] if ".out.down." in name or ".out.up." in name]
    assert len(learned) == len(kept["optimizer_states"][0]["state"]) == 4
    network = rebuild(path).network
    assert [f"network.{name}" for name in network.state_dict()] == [*kept["state_dict"]]
    assert torch.equal(network.blocks[1].feed_forward.out.up.weight, kept["state_dict"][learned[-1]])
    code, out, errors = run("generate", "runs/mine", "--prompt=the", "--count=4")
    assert code == 0, errors
    assert out.startswith("the")
    for command in ("validate", "fit"):
        more = ["--trainer.max_steps=3"] if command == "fit" else []
        code, _, errors = run(command, *options, *more, "--ckpt_path=last")
        assert code == 0, errors
        code, _, errors = run(command, *options, *more, "--ckpt_path=last", "--model.transforms=null")
        assert code == 2
        assert "another model (model.transforms was " in errors


def recipe(*transforms, task="lmkit.tasks.Pretraining"):
    done = [{"class_path": f"lmkit.transforms.{name}", "init_args": options} for name, options in transforms]
    options = {"network": {"class_path": "Decoder"}, **({"transforms": done} if done else {})}
    return {"class_path": task, "init_args": options}


FROZEN, OTHER, AGAIN = (("Freeze", {"names": [name], "but": None}) for name in ("a", "b", "a"))
RECOMPUTED, UNKNOWN = ("Checkpointing", {"every": 1}), ("Gone", {})


@pytest.mark.parametrize(
    ("kept", "given", "fitting", "message"),
    [
        ((), (FROZEN,), True, "model.transforms was none and is Freeze"),
        ((FROZEN,), (), True, "model.transforms was Freeze and is none"),
        ((FROZEN,), (OTHER,), True, r"model.transforms\[0\].names was \['a'\] and is \['b'\]"),
        ((FROZEN,), (RECOMPUTED, AGAIN), True, None),
        ((RECOMPUTED,), (), True, None),
        ((FROZEN,), (OTHER,), False, None),
        ((FROZEN,), (), False, None),
        ((FROZEN, UNKNOWN), (FROZEN,), False, "model.transforms was Gone and is none"),
    ],
)
def test_who_goes_on_needs_the_transforms_that_a_checkpoint_depends_on(kept, given, fitting, message):
    if message is None:
        check_same_model(recipe(*kept), recipe(*given), fitting)
        return
    with pytest.raises(UserError, match=message):
        check_same_model(recipe(*kept), recipe(*given), fitting)


def test_a_run_goes_on_as_the_same_task_only():
    kept, given = recipe(), recipe(task="Distillation")
    check_same_model(kept, recipe(task="Pretraining"), fitting=True)
    check_same_model(kept, given, fitting=False)
    with pytest.raises(UserError, match="model was Pretraining and is Distillation"):
        check_same_model(kept, given, fitting=True)


def test_another_start_is_told_to_one_who_goes_on(caplog):
    caplog.set_level(logging.INFO)
    kept, given = recipe(), recipe()
    check_same_model(kept, given, fitting=True)
    given["init_args"]["init_from"] = "runs/other"
    check_same_model(kept, given, fitting=False)
    assert not caplog.messages
    check_same_model(kept, given, fitting=True)
    (told,) = caplog.messages
    assert told == "model.init_from was None and is runs/other: a run that goes on keeps what it began with"


def loss(name, **options):
    return {"class_path": name, "init_args": options}


@pytest.mark.parametrize(
    ("kept", "given", "message"),
    [
        ({}, {"part": loss("DPO", beta=0.1)}, ""),
        ({"part": loss("DPO", beta=0.1), "weight": 0.5}, {"part": loss("DPO", beta=0.1), "weight": 0.5}, ""),
        ({"part": loss("DPO", beta=0.1)}, {"part": loss("DPO", beta=0.2)}, "model.part.beta was 0.1 and is 0.2"),
        ({"part": loss("DPO", beta=0.1)}, {"part": loss("DPO", beta=0.1, smoothing=0.2)}, ""),
        (
            {"part": loss("DPO", beta=0.1), "weight": 0.5, "top_k": None},
            {"part": loss("DPO", beta=0.2), "weight": 1, "top_k": 4},
            "model.part.beta was 0.1 and is 0.2, model.weight was 0.5 and is 1, model.top_k was None and is 4",
        ),
    ],
)
def test_changed_options_of_the_loss_are_told(kept, given, message, caplog):
    caplog.set_level(logging.INFO)
    check_same_loss(kept, given)
    assert caplog.messages == ([f"options of the loss were changed since the checkpoint: {message}"] if message else [])


@pytest.mark.parametrize("given", [loss("IPO", beta=0.1), None])
def test_who_goes_on_needs_the_classes_that_the_loss_was_made_of(given):
    with pytest.raises(UserError, match=r"another model \(model.part was .*DPO.* and is .*\): give the same --model"):
        check_same_loss({"part": loss("DPO", beta=0.1), "weight": 1}, {"part": given, "weight": 2})


@pytest.mark.slow
def test_an_ablation_counts_what_is_recomputed_once_and_what_is_frozen_less(run, toy):
    plain, recomputed, frozen = (
        Rehearsal("toy", ["-c", str(RECIPE), *toy, *options], "32-true").cost()
        for options in ([], [CHECKPOINTING], [FREEZE, "--model.transforms.names=[blocks.0.*]"])
    )
    assert plain == recomputed
    assert frozen.parameters == plain.parameters
    assert 0.5 * plain.flops_per_token < frozen.flops_per_token < plain.flops_per_token


@pytest.mark.slow
def test_what_new_writes_trains_and_is_listed(run, toy):
    assert run("plugins", "new", "transform", "BegunTransform")[0] == 0
    code, out, _ = run("plugins", "list", "transform", "--plugins=begun_transform.py")
    assert code == 0
    assert {"Checkpointing", "Freeze", "BegunTransform"} <= {line.split()[0] for line in out.splitlines()}
    options = ["--plugins=begun_transform.py", "--model.transforms=[BegunTransform]", "--name=begun"]
    code, _, errors = run("fit", "-c", RECIPE, *toy, *options)
    assert code == 0, errors
    kept = torch.load("runs/begun/version_0/checkpoints/last.ckpt")
    assert len(kept["optimizer_states"][0]["state"]) < len(kept["state_dict"])
    code, _, errors = run("fit", "-c", RECIPE, *toy, *options, "--model.transforms.count=3")
    assert code == 2
    assert "count is 3, but the network has 2 blocks" in errors


@pytest.mark.slow
def test_compiled_and_recomputed_is_the_same_run(run, toy):
    options = ["fit", "-c", RECIPE, *toy, *LONG, "--trainer.precision=64-true"]
    assert run(*options, "--name=plain")[0] == 0
    assert run(*options, "--name=compiled", CHECKPOINTING, "--model.compile=true")[0] == 0
    for one, other in zip(rows("runs/plain/version_0"), rows("runs/compiled/version_0"), strict=True):
        assert [float(x) for x in one.values()] == pytest.approx([float(x) for x in other.values()], rel=1e-5)
