"""Classification: a text's class is read off its last token as it is alone; what is measured is what its words mean."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lmkit.data.labelled_texts import LabelledTexts
from lmkit.errors import UserError
from lmkit.layers import GatedDeltaNet
from lmkit.network import Decoder, Encoder
from lmkit.tasks import Classification
from tests.conftest import RECIPES

V, T = 40, 24
NETWORKS = {
    "softmax": partial(Decoder, V, T, 16, 2, 2),
    "delta": partial(Decoder, V, T, 16, 2, 2, attention=GatedDeltaNet),
    "encoder": partial(Encoder, V, T, 16, 2, 2),
}


def built(network):
    """With data that has classes, and a trainer to ask for it."""
    task = Classification(network)
    data = SimpleNamespace(classes=["a", "b", "c"], vocab_size_used=V, context=T)
    task._trainer = SimpleNamespace(datamodule=data, state=SimpleNamespace(fn=None))
    task.configure_model()
    return task


def drawn():
    """Texts in two rows, and the batch of them."""
    torch.manual_seed(1)
    lengths = ((5, 9, 8), (1, 20))
    texts = [[torch.randint(V, (length,)) for length in row] for row in lengths]
    inputs, documents, ends = torch.zeros(2, T, dtype=torch.long), torch.full((2, T), 3), []
    for row, held in enumerate(texts):
        start = 0
        for number, text in enumerate(held):
            stop = start + len(text)
            inputs[row, start:stop], documents[row, start:stop] = text, number
            ends.append(row * T + stop - 1)
            start = stop
    parts = torch.tensor(ends), torch.tensor([0, 1, 1, 2, 0]), torch.arange(5)
    return [text for row in texts for text in row], LabelledTexts(inputs, documents, *parts)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_class_is_read_off_the_last_token_of_a_text_alone(double, network):
    task = built(network)
    texts, batch = drawn()
    wanted = torch.stack([task.head(task.network(text[None])[0, -1]) for text in texts])
    torch.testing.assert_close(task.scores(batch), wanted, rtol=0, atol=1e-11)
    loss, count = task.loss(batch)
    assert int(count) == 5
    torch.testing.assert_close(loss, -wanted.log_softmax(1)[torch.arange(5), batch.labels].sum())
    empty = LabelledTexts(batch.inputs, batch.documents, *(part[:0] for part in batch[2:]))
    assert [part.item() for part in task.loss(empty)] == [0.0, 0]
    assert [part.item() for part in task.eval().loss(empty)] == [0.0, 0]


def test_what_is_measured_is_accuracy_and_the_mean_of_the_classes_f1(monkeypatch):
    task = built(NETWORKS["softmax"]).eval()
    _, batch = drawn()
    told = torch.tensor([0, 1, 0, 2, 1])  # where the labels are 0, 1, 1, 2, 0
    monkeypatch.setattr(task, "scores", lambda batch: torch.eye(3)[told])
    task.loss(batch)
    found = {name: value.item() for name, value in task.metrics.compute().items()}
    f1 = [2 * 1 / (2 * 1 + 1 + 1), 2 * 1 / (2 * 1 + 1 + 1), 1.0]  # 2 right over 2 right, told in vain, and missed
    assert found == pytest.approx({"accuracy": 3 / 5, "f1": sum(f1) / 3})


def test_classes_come_with_the_data():
    with pytest.raises(UserError, match="Classification needs to know the classes: set data to Labels"):
        Classification(NETWORKS["softmax"]).configure_model()


@pytest.fixture
def labelled(run):
    """A file of texts whose class is the word that they have."""
    rows = [{"text": f"the {word} {n} sat", "label": word} for n in range(60) for word in ("cat", "dog", "tree")]
    Path("labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["--data.source=labels.jsonl", "--data.batch_size=8"]


def test_a_run_learns_the_classes_and_tells_of_each_text(run, start, labelled):
    command = ["-c", RECIPES / "classify.yaml", *start, *labelled, "--trainer.max_steps=40"]
    code, out, errors = run("fit", *command, "--trainer.val_check_interval=40")
    assert code == 0, errors
    assert "accuracy         100.0%" in out
    assert "macro F1         100.0%" in out
    words = ["dog", "tree", "cat", "tree", "cat", "dog"] * 4
    asked = [{"text": f"the {word} {n} sat", **({"label": word} if n % 2 else {})} for n, word in enumerate(words)]
    Path("asked.jsonl").write_text("\n".join(map(json.dumps, asked)))
    code, out, errors = run("predict", *command, "--ckpt_path", "best", "--data.validation_source=asked.jsonl")
    assert code == 0, errors
    told = [json.loads(line) for line in Path("runs/classify/version_0/predictions.jsonl").read_text().splitlines()]
    assert [row["text"] for row in told] == [row["text"] for row in asked]
    assert [row["row"] for row in told] == [f"asked.jsonl, row {n}" for n in range(1, 25)]
    assert [row["label"] for row in told] == [row.get("label") for row in asked]
    for row in told:
        assert row["text"].split()[1] == row["predicted"]
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert max(row["probabilities"], key=row["probabilities"].get) == row["predicted"]


@pytest.mark.slow
def test_a_head_alone_learns_where_all_of_the_network_is_frozen(run, start, labelled):
    command = ["-c", RECIPES / "classify.yaml", *start, *labelled, "--trainer.max_steps=2"]
    frozen = "--model.transforms=[{class_path: Freeze, init_args: {names: ['*']}}]"
    code, _, errors = run("fit", *command, "--trainer.val_check_interval=2", frozen)
    assert code == 0, errors
    code, _, errors = run("predict", *command, frozen, "--ckpt_path", "best")
    assert code == 0, errors


@pytest.mark.slow
def test_a_checkpoint_of_other_classes_and_a_run_that_goes_on(run, start, labelled):
    command = ["-c", RECIPES / "classify.yaml", *start, "--model.schedule=Constant"]
    command = [option for option in command if "warmup" not in str(option)]
    assert run("fit", *command, *labelled, "--name=whole", "--trainer.max_steps=6")[0] == 0
    assert run("fit", *command, *labelled, "--name=part")[0] == 0
    assert run("fit", *command, *labelled, "--name=part", "--trainer.max_steps=6", "--ckpt_path=last")[0] == 0
    one, other = (
        torch.load(f"runs/{name}/version_0/checkpoints/last.ckpt")["state_dict"] for name in ("whole", "part")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    code, out, errors = run("validate", *command, *labelled, "--name=part", "--ckpt_path=best")
    assert code == 0, errors
    assert "val/f1" in out
    Path("other.jsonl").write_text(Path("labels.jsonl").read_text().replace("tree", "mat"))
    code, _, errors = run("validate", *command, "--data.source=other.jsonl", "--name=part", "--ckpt_path=best")
    assert code == 2
    assert "the checkpoint knows the classes cat, dog, tree, but the rows to train on have cat, dog, mat" in errors
    own = ["--data.source=labels.jsonl", "--data.validation_source=other.jsonl"]
    code, _, errors = run("validate", *command, *own, "--name=part", "--ckpt_path=best")
    assert code == 0, errors
    assert "60 of 180 texts to measure on are of none of the classes: mat (60)" in errors
