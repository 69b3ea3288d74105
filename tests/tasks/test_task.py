"""The task below the command line: schedules, groups, compilation, plain torch, several ranks."""

import math
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from lmkit.errors import UserError
from lmkit.layers import LayerNorm
from lmkit.network import Decoder
from lmkit.optim import Constant, WarmupCosine, WarmupStableDecay, decay_by_rank
from lmkit.tasks import Pretraining
from lmkit.tasks.compiling import compile_blocks
from tests.cli.test_fit import rows
from tests.conftest import RECIPES, ROOT

TINY = partial(Decoder, 50, 16, 24, 2, 4)


def test_cosine():
    schedule = WarmupCosine(110, warmup=10, final=0.1)
    assert [schedule(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert schedule(60) == pytest.approx(0.55)
    assert schedule(110) == pytest.approx(0.1)
    assert schedule(35) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)


def test_warmup_stable_decay():
    schedule = WarmupStableDecay(100, warmup=10, decay=0.2, final=0.0)
    assert [schedule(step) for step in (0, 9, 10, 79)] == pytest.approx([0.1, 1.0, 1.0, 1.0])
    assert [schedule(step) for step in (80, 90, 100)] == pytest.approx([1.0, 0.5, 0.0])


def test_constant_and_too_long():
    assert Constant(3)(2) == 1.0
    with pytest.raises(UserError, match="26 steps of warmup and 4 of decay, but the run has 20"):
        WarmupStableDecay(20, warmup=26, decay=0.2)
    with pytest.raises(UserError, match="warmup is -1"):
        WarmupCosine(20, warmup=-1)
    with pytest.raises(UserError, match=r"decay is 1\.5, but it is a share"):
        WarmupStableDecay(20, warmup=2, decay=1.5)


def test_matrices_decay_and_vectors_do_not():
    network = TINY(norm=LayerNorm)
    matrices, vectors = decay_by_rank(network)
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert vectors["weight_decay"] == 0.0
    assert "weight_decay" not in matrices
    assert len(matrices["params"]) + len(vectors["params"]) == len(list(network.parameters()))


def test_flops_agree_with_the_formula():
    task = Pretraining(partial(Decoder, 512, 64, 64, 3, 4))
    matrices = 3 * 12 * 64 * 64 + 512 * 64
    assert task.flops_per_token(64) == pytest.approx(6 * matrices + 12 * 3 * 64 * 64, rel=0.01)


def test_without_a_compiler_one_line_says_so(monkeypatch, recwarn):
    monkeypatch.setattr("shutil.which", lambda name: None)
    network = TINY()
    compile_blocks(network)
    assert [str(w.message) for w in recwarn if "C++ compiler" in str(w.message)]
    assert network.blocks[0]._compiled_call_impl is None


def test_a_missing_compiler_chosen_by_name_is_noticed(monkeypatch, recwarn):
    monkeypatch.setenv("CXX", "no-such-compiler")
    compile_blocks(TINY())
    assert any("no-such-compiler" in str(w.message) for w in recwarn)


@pytest.mark.slow
def test_compiled_blocks_are_the_same_function():
    torch.manual_seed(0)
    network = TINY().double()
    ids = torch.randint(50, (2, 16))
    eager = network(ids)
    compile_blocks(network)
    torch.testing.assert_close(network(ids), eager)


def test_gpt2_has_the_published_number_of_parameters(run, capsys):
    import yaml

    from lmkit.registry import build

    recipe = yaml.safe_load((RECIPES / "gpt2-124m.yaml").read_text())
    from collections.abc import Callable

    with torch.device("meta"):
        network = build(Callable[[], Decoder], recipe["model"]["init_args"]["network"])()
    assert sum(p.numel() for p in network.parameters()) == 124_439_808


BALANCED = [
    "--model.network.feed_forward=MixtureOfExperts",
    "--model.network.feed_forward.experts=4",
    "--model.network.feed_forward.router=SigmoidRouter",
    "--model.network.feed_forward.router.rate=0.1",
    "--model.network.feed_forward.router.balance_weight=0",  # a loss of each rank's own rows
]


@pytest.mark.parametrize("parts", [[], pytest.param(BALANCED, marks=pytest.mark.slow)], ids=["gpt", "mixture"])
@pytest.mark.slow
def test_two_ranks_train_as_one(run, toy, few, tmp_path, parts):
    toy = [*toy, *parts]
    common = ["fit", "-c", str(RECIPES / "gpt-small.yaml"), *toy, *few, "--trainer.precision=64-true"]
    common += ["--trainer.max_steps=6", "--trainer.limit_val_batches=1.0", "--data.documents=separate"]
    assert run(*common, "--name=one")[0] == 0
    options = ["--name=two", "--trainer.devices=2", "--trainer.strategy=ddp"]
    command = [sys.executable, "-m", "lmkit.cli.main", *common, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for one, other in zip(rows("runs/one/version_0"), rows("runs/two/version_0"), strict=True):
        assert [float(x) for x in one.values()] == pytest.approx([float(x) for x in other.values()], rel=1e-5)


@pytest.mark.slow
def test_the_readme_runs_and_beats_xz(tmp_path):
    """The README's first command, as written, in an empty place beside the recipes; on one core, as any other test:
    several threads would wait for each other beside tests that have the other core.
    """
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"lmkit fit --config recipes/gpt-small\.yaml", readme)[0]
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reached, xz = map(
        float, re.search(r"bits per byte\s+([\d.]+)\s+\(xz -9e on the same text: ([\d.]+)\)", done.stdout).groups()
    )
    assert reached < xz
    follow = re.search(r"(lmkit generate \S+ --prompt .*)", done.stdout)[1]
    text = subprocess.run(follow, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert text.returncode == 0, text.stderr
    assert text.stdout.startswith("def read(")
    assert Path(tmp_path / "runs/gpt-small/version_0/checkpoints/best.ckpt").is_file()
