"""Distillation: the loss is what its parts are by hand, and what a teacher has said once need not be said again."""

import csv
import logging
import multiprocessing
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from threading import Timer
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.plugins import Precision

from lmkit.checkpoints import KEY, read, write
from lmkit.data import tokenizer as tokenizing
from lmkit.data.packing import IGNORE, Batch
from lmkit.errors import UserError
from lmkit.hf.start import start_from
from lmkit.losses import ForwardKL, ReverseKL
from lmkit.network import Decoder
from lmkit.tasks import Distillation
from lmkit.tasks.kept_top_k import KeptTopK
from lmkit.tasks.teachers import Teacher
from tests.conftest import RECIPES
from tests.tasks.conftest import QUICK, texts, write_start

T = 16
STUDENT = partial(Decoder, 330, 64, 16, 1, 2)  # with some more ids than its teacher, both more than there are tokens


@pytest.fixture
def started(tmp_path, monkeypatch):
    """A checkpoint of a teacher, and its tokenizer."""
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    tokenizer = tokenizing.train(iter(texts(200)), 300)
    return write_start(tmp_path / "teacher.ckpt", tokenizer=tokenizer), tokenizer


@pytest.fixture
def built(started):
    path, tokenizer = started

    def build(**options):
        torch.manual_seed(3)
        task = Distillation(STUDENT, str(path), chunk=7, **options)
        used = tokenizing.vocab_size_used(tokenizer)
        data = SimpleNamespace(tokenizer=tokenizer, vocab_size_used=used, context=T)
        task._trainer = SimpleNamespace(
            datamodule=data,
            state=SimpleNamespace(fn=None),
            precision="32-true",
            precision_plugin=Precision(),
            default_root_dir=str(path.parent),
        )
        task.configure_model()
        task.begin()
        return task

    return build


def drawn(used=280):
    torch.manual_seed(0)
    tokens = torch.randint(used, (3, T + 1))
    targets = tokens[:, 1:].clone()
    targets[0, 5:9], targets[2] = IGNORE, IGNORE
    return Batch(tokens[:, :-1], targets, (torch.arange(T) > 6).long().expand(3, T))


@pytest.mark.parametrize("divergence", [ForwardKL(2.0), ReverseKL(1.5)])
@pytest.mark.parametrize("top_k", [None, 5])
def test_the_loss_is_that_of_its_parts(built, divergence, top_k):
    task, batch = built(divergence=divergence, weight=0.3, top_k=top_k), drawn()
    loss, count = task.loss(batch)
    loss.backward()
    found = [parameter.grad.clone() for parameter in task.parameters()]
    task.zero_grad()
    valid, used, t = batch.targets != IGNORE, task._datamodule.vocab_size_used, divergence.temperature
    logits = task.network.logits(task.network(batch.inputs, batch.documents))[valid]
    teacher = task.teacher.network(task)
    said = teacher.logits(teacher(batch.inputs, batch.documents))[valid][:, :used]
    entropy = torch.nn.functional.cross_entropy(logits, batch.targets[valid], reduction="sum")
    own, theirs = (logits[:, :used] / t).softmax(1), (said / t).softmax(1)
    if top_k:
        ids = theirs.topk(top_k).indices
        own, theirs = (torch.cat([p.gather(1, ids), 1 - p.gather(1, ids).sum(1, True)], 1) for p in (own, theirs))
    one, other = (theirs, own) if isinstance(divergence, ForwardKL) else (own, theirs)
    apart = (one * (one / other).log()).sum()
    plain = 0.7 * entropy + 0.3 * t**2 * apart
    plain.backward()
    assert int(count) == int(valid.sum())
    torch.testing.assert_close(loss, plain, rtol=1e-4, atol=0)
    for grad, parameter in zip(found, task.parameters(), strict=True):
        torch.testing.assert_close(grad, parameter.grad, rtol=1e-3, atol=1e-5)
    told = task._trained.take(lambda tensor: tensor)
    assert told["divergence"][0].item() == pytest.approx(apart.item() / int(count), rel=1e-3)
    assert told["cross_entropy"][0].item() == pytest.approx(entropy.item() / int(count), rel=1e-4)
    measured, _ = task.eval().loss(batch)
    torch.testing.assert_close(measured, entropy)
    assert not [name for name in task.state_dict() if "teacher" in name]


def test_all_of_the_likeliest_tokens_are_all(built):
    batch = drawn()
    whole, _ = built(weight=1.0).loss(batch)
    used = tokenizing.vocab_size_used(built()._datamodule.tokenizer)
    kept, _ = built(weight=1.0, top_k=used).loss(batch)
    torch.testing.assert_close(whole, kept, rtol=1e-4, atol=1e-5)


def test_what_was_said_is_not_said_again(tmp_path):
    kept, batch, asked = KeptTopK(tmp_path / "kept/said.sqlite", 3, 280), drawn(), []

    def say(rows):
        asked.append(rows.inputs)
        count = int((rows.targets != IGNORE).sum())
        return torch.arange(3.0) - rows.inputs[rows.targets != IGNORE][:, None], torch.arange(3).expand(count, 3)

    first = kept.of(Batch(*(part[1:] for part in batch)), say)
    whole = kept.of(batch, say)
    again = KeptTopK(tmp_path / "kept/said.sqlite", 3, 280).of(batch, say)
    assert [len(rows) for rows in asked] == [1, 1]  # the third row has no target
    assert torch.equal(asked[1], batch.inputs[:1])
    alone = say(batch)
    for part in (0, 1):
        assert torch.equal(whole[part], alone[part])
        assert torch.equal(again[part], alone[part])
        assert torch.equal(first[part], alone[part][12:])
    joined = batch._replace(documents=None)
    kept.of(joined, say)
    assert len(asked[-1]) == 2  # what a row may see decides what is said
    with sqlite3.connect(kept.file) as database:
        database.execute("UPDATE said SET numbers = substr(numbers, 2) WHERE name = (SELECT min(name) FROM said)")
    kept.of(batch, say)
    kept.of(joined, say)
    assert len(asked[-1]) == 1  # what is damaged is none
    damaged = tmp_path / "damaged/said.sqlite"
    damaged.parent.mkdir()
    damaged.write_bytes(b"no database")
    with pytest.raises(UserError, match=r"kept in .*damaged.said\.sqlite, but .*: make room, or remove that file"):
        KeptTopK(damaged, 3, 280).of(batch, say)


ROW = Batch(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.long), None)


def said_by(file):
    """What is kept of a row in a fresh file, once it has been written there."""
    return KeptTopK(file, 1, 9).of(ROW, lambda _: (torch.zeros(2, 1), torch.zeros(2, 1)))[0].tolist()


def test_a_fresh_file_waits_for_a_rank_that_makes_it(tmp_path):
    file = tmp_path / "said.sqlite"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    Timer(0.2, other.execute, ["COMMIT"]).start()
    assert said_by(file) == [[0], [0]]


def opened(barrier, folder, failed):
    """One of several processes, which open fresh files at once."""
    for number in range(150):
        barrier.wait(60)
        try:
            said_by(folder / f"{number}.sqlite")
        except UserError as error:
            failed.put(str(error))


def test_several_processes_open_a_fresh_file_at_once(tmp_path):
    forked = multiprocessing.get_context("fork")
    barrier, failed = forked.Barrier(4), forked.SimpleQueue()
    processes = [forked.Process(target=opened, args=(barrier, tmp_path, failed)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert failed.empty(), failed.get()
    assert [process.exitcode for process in processes] == [0] * 4


def test_what_was_said_is_not_taken_for_that_of_a_teacher_of_other_code(built, started, tmp_path):
    path, tokenizer = started
    task, plugin, held = built(), tmp_path / "scaled.py", read(path)
    recipe = held[KEY]["recipe"]
    recipe["plugins"], recipe["model"]["init_args"]["network"]["init_args"]["norm"] = [str(plugin)], "Scaled"
    write(held, path, "")
    files = []
    for number in (2, 3, 2):
        plugin.write_text(
            "from lmkit.layers import RMSNorm\n\nclass Scaled(RMSNorm):\n"
            f"    def forward(self, x):\n        return {number} * super().forward(x)\n"
        )
        teacher = Teacher(str(path), 4, 1.0, 8)
        teacher.begin(task, tokenizer, 300)
        files.append(teacher._kept.file)
    assert files[0] == files[2] != files[1]


def test_what_was_said_is_not_taken_for_that_of_other_options(built, started):
    path, tokenizer = started
    task, files = built(), []
    for k, temperature, precision in ((4, 1.0, "32-true"), (4, 2.0, "32-true"), (5, 1.0, "32-true"), (4, 1.0, "bf16")):
        task.trainer.precision = precision
        teacher = Teacher(str(path), k, temperature, 8)
        teacher.begin(task, tokenizer, 300)
        files.append(teacher._kept.file)
    assert len({*files}) == 4


def test_a_teacher_that_scores_text_is_refused(built, started):
    path, tokenizer = started
    task, held = built(), read(path)
    held["state_dict"]["head.weight"] = torch.zeros(1, 32)
    write(held, path, "")
    with pytest.raises(UserError, match=r"was trained by Pretraining, whose head gives scores and .* cannot teach"):
        Teacher(str(path), None, 1.0, 8).begin(task, tokenizer, 300)


def test_a_teacher_of_other_tokens_or_shorter_rows_is_refused(built, started):
    task = built()
    task._datamodule.context = 65
    with pytest.raises(UserError, match=r"rows are 65 tokens long, but the teacher .* has context 64: set data"):
        task.loss(drawn())
    other = tokenizing.train(iter(texts(200, seed=5)[::-1]), 290)
    with pytest.raises(UserError, match=r"teacher\.ckpt has other tokens than the data: .* is \d+ there and \d+ here"):
        Teacher(str(started[0]), None, 1.0, 8).begin(task, other, 290)
    with pytest.raises(UserError, match="top_k is 500, but there are 300 token ids"):
        Teacher(str(started[0]), 500, 1.0, 8).begin(task, started[1], 300)


NETWORK = {"vocab_size": 300, "context": 64, "dim": 16, "depth": 1, "heads": 2}


def command(start, source):
    teacher = start[0].partition("=")[2]
    own = [f"--model.teacher={teacher}", f"--data.source={source}", "--model.top_k=4"]
    return [*start[1:], *own, *(f"--model.network.{name}={number}" for name, number in NETWORK.items())]


def measured(name):
    with Path(f"runs/{name}/version_0/metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    return [line[key] for key in ("train/loss", "train/divergence", "val/divergence") for line in lines if line[key]]


@pytest.mark.slow
def test_a_second_run_does_not_run_the_teacher(run, start, texts, monkeypatch, tmp_path):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    options = ["-c", RECIPES / "distill.yaml", *command(start, texts)]
    code, out, errors = run("fit", *options, "--name=first")
    assert code == 0, errors
    assert "bits per byte" in out

    def never(teacher, task):
        raise AssertionError("the teacher is run")

    monkeypatch.setattr(Teacher, "network", never)
    code, _, errors = run("fit", *options, "--name=second")
    assert code == 0, errors
    assert measured("first") == measured("second")
    assert len(measured("first")) == 7


@pytest.mark.slow
@pytest.mark.parametrize("top_k", ["null", 4])
def test_a_run_that_goes_on_is_the_same(run, start, texts, top_k):
    options = [option for option in command(start, texts) if "warmup" not in option]
    options = ["-c", RECIPES / "distill.yaml", *options, "--model.schedule=Constant", f"--model.top_k={top_k}"]
    assert run("fit", *options, "--name=whole", "--trainer.max_steps=6")[0] == 0
    assert run("fit", *options, "--name=part")[0] == 0
    assert run("fit", *options, "--name=part", "--trainer.max_steps=6", "--ckpt_path=last")[0] == 0
    one, other = (
        torch.load(f"runs/{name}/version_0/checkpoints/last.ckpt")["state_dict"] for name in ("whole", "part")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def begun(run, texts):
    """Options of a distillation that has begun, of a teacher that was called `runs/big`."""
    write_teacher(0, seed=0)
    own = ["--model.teacher=runs/big", f"--data.source={texts}"]
    sizes = [f"--model.network.{name}={number}" for name, number in NETWORK.items()]
    quick = [*(option for option in QUICK if "warmup" not in option), "--model.schedule=Constant"]
    command = ["fit", "-c", RECIPES / "distill.yaml", *quick, *own, *sizes, "--name=on", "--model.top_k=4"]
    code, _, errors = run(*command, "--trainer.max_steps=1", "--trainer.val_check_interval=1")
    assert code == 0, errors
    return [*command, "--ckpt_path=last", "--trainer.val_check_interval=1"]


def write_teacher(number, seed, tokenizer=None):
    path = Path(f"runs/big/version_{number}/checkpoints/best.ckpt")
    path.parent.mkdir(parents=True)
    return write_start(path, seed, tokenizer)


def kept_teacher():
    return read("runs/on/version_0/checkpoints/last.ckpt")["teacher"]


@pytest.mark.slow
def test_a_run_goes_on_with_the_teacher_that_it_began_with(run, begun):
    """Though another has taken its name; and not with one that is gone, has changed or is another."""
    told, first = kept_teacher(), Path("runs/big/version_0")
    other = write_teacher(1, 1, tokenizing.train(iter(["a mat sat on the cat"]), 280))  # whose tokens are others too
    assert start_from("runs/big").path == other
    code, _, errors = run(*begun, "--trainer.max_steps=2")
    assert code == 0, errors
    assert kept_teacher() == told
    assert told["path"] == str((first / "checkpoints/best.ckpt").resolve())

    def refused(*options):
        code, _, errors = run(*begun, "--trainer.max_steps=3", *options)
        assert code == 2
        (line,) = [line for line in errors.splitlines() if line.startswith("lmkit: error: ")]
        assert f"learns from the teacher that was in {told['path']}, " in line
        return line

    assert f"but {other} holds other names, shapes or numbers now" in refused(f"--model.teacher={other}")
    first.rename("moved")
    assert "but runs/big holds other names, shapes or numbers now" in refused()
    shutil.rmtree("runs/big")
    assert "which is gone: put back what was there" in refused()
    code, _, errors = run(*begun, "--trainer.max_steps=3", "--model.teacher=moved")
    assert code == 0, errors
    assert kept_teacher()["fingerprint"] == told["fingerprint"]


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_divergence_and_is_told_of_other_options(run, begun, caplog):
    code, _, errors = run(*begun, "--trainer.max_steps=2", "--model.divergence=ReverseKL")
    assert code == 2
    assert "of another model (model.divergence was ForwardKL and is ReverseKL): give the same --model" in errors
    caplog.set_level(logging.INFO)
    code, _, errors = run(*begun, "--trainer.max_steps=2", "--model.weight=0.25", "--model.top_k=3")
    assert code == 0, errors
    assert "since the checkpoint: model.weight was 0.5 and is 0.25, model.top_k was 4 and is 3" in caplog.text


@pytest.mark.slow
def test_on_conversations_with_the_teachers_tokenizer_or_none(run, start, texts):
    rows = '{"prompt": "the cat %d", "completion": "sat on the mat %d"}'
    Path("chats.jsonl").write_text("\n".join(rows % (n, n) for n in range(40)))
    options = ["-c", RECIPES / "distill.yaml", *command(start, "chats.jsonl"), "--data=Chat"]
    options += ["--data.source=chats.jsonl", "--data.context=64", "--data.validation_fraction=0.3"]
    code, out, errors = run("fit", *options)
    assert code == 0, errors
    assert "lmkit chat runs/distill" in out
    tokenizing.train(iter(["abc abc"]), 260).save("other.json")
    code, _, errors = run("fit", *options, "--data.tokenizer=other.json")
    assert code == 2
    assert "has other tokens than the data: " in errors
    code, _, errors = run("fit", *options, "--model.teacher=nowhere")
    assert code == 2
    assert "nothing is at nowhere" in errors
