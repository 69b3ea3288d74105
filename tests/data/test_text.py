from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from data_samples import sentences, write_jsonl
from lightning import LightningModule, Trainer

from lmkit.data.packing import IGNORE, Batch
from lmkit.data.split import is_validation
from lmkit.data.text import Text
from lmkit.errors import UserError


def text_data(corpus: Path, **changes: Any) -> Text:
    settings = {"validation_fraction": 0.2, "vocab_size": 300, "context": 16, "batch_size": 4}
    return Text(str(corpus), **(settings | changes))


def opened(corpus: Path, **changes: Any) -> Text:
    data = text_data(corpus, **changes)
    data.prepare_data()
    data.setup("fit")
    return data


class Recorder(LightningModule):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[torch.Tensor] = []
        self.validated: list[torch.Tensor] = []

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.seen.append(batch.inputs)
        return self.weight.sum()

    def validation_step(self, batch: Batch, _: int) -> None:
        self.validated.append(batch.targets)

    def predict_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.validated.append(batch.targets)
        return batch.targets

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(path: Path, **settings: Any) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "barebones": False}
    return Trainer(default_root_dir=path, accelerator="cpu", enable_checkpointing=False, **(quiet | settings))


def test_works_without_a_trainer(corpus: Path) -> None:
    data = opened(corpus)
    batch = next(iter(data.train_dataloader()))
    assert batch.inputs.shape == (4, 16)
    assert batch.documents is None
    assert data.end_of_document == 0
    assert data.vocab_size_used == 300
    assert torch.equal(batch.inputs, next(iter(data.train_dataloader())).inputs)
    assert next(iter(opened(corpus, documents="separate").train_dataloader())).documents is not None
    assert not torch.equal(batch.inputs, next(iter(opened(corpus, seed=1).train_dataloader())).inputs)


def test_validation_documents_and_bytes_per_token(corpus: Path) -> None:
    data = opened(corpus)
    held = [text for seed in range(2) for text in sentences(60, seed) if is_validation(text, 0.2)]
    assert [text.decode() for text in data.validation_text()] == held
    targets = torch.cat([batch.targets for batch in data.val_dataloader()])
    assert data.bytes_per_token == len("".join(held).encode()) / int((targets != IGNORE).sum())


def test_validation_text_over_read_borders(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = opened(corpus)
    whole = list(data.validation_text())
    for size in (1, 2, 7, 50):
        monkeypatch.setattr("lmkit.data.text._READ_TOKENS", size)
        assert list(data.validation_text()) == whole


def test_the_trainer_is_asked_for_accumulation_and_ends_exactly(corpus: Path, tmp_path: Path) -> None:
    model, data = Recorder(), text_data(corpus)
    trainer(tmp_path, max_steps=5, accumulate_grad_batches=2, num_sanity_val_steps=0).fit(model, data)
    assert [len(inputs) for inputs in model.seen] == [2] * 10
    one = list(islice(opened(corpus).train_dataloader(), 5))
    assert torch.equal(torch.cat(model.seen), torch.cat([batch.inputs for batch in one]))


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_go_on_where_the_last_ended(corpus: Path, tmp_path: Path, workers: int) -> None:
    model = Recorder()
    short = {"max_epochs": 3, "limit_train_batches": 2, "limit_val_batches": 1, "num_sanity_val_steps": 0}
    trainer(tmp_path, **short).fit(model, text_data(corpus, workers=workers))
    one = list(islice(opened(corpus).train_dataloader(), 6))
    assert torch.equal(torch.cat(model.seen), torch.cat([batch.inputs for batch in one]))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_sees_the_batches_of_an_unbroken_one(corpus: Path, tmp_path: Path, workers: int) -> None:
    unbroken, first, second, third = Recorder(), Recorder(), Recorder(), Recorder()
    trainer(tmp_path, max_steps=6, limit_val_batches=0).fit(unbroken, text_data(corpus))
    run = trainer(tmp_path, max_steps=2, limit_val_batches=0)
    run.fit(first, text_data(corpus, workers=workers))
    run.save_checkpoint(tmp_path / "2.ckpt")
    torch.load(tmp_path / "2.ckpt", weights_only=True)
    # Another accumulation, then another batch size: no sample is lost or seen twice.
    run = trainer(tmp_path, max_steps=4, limit_val_batches=0, accumulate_grad_batches=2)
    run.fit(second, text_data(corpus, workers=workers), ckpt_path=tmp_path / "2.ckpt")
    run.save_checkpoint(tmp_path / "4.ckpt")
    run = trainer(tmp_path, max_steps=6, limit_val_batches=0)
    run.fit(third, text_data(corpus, batch_size=2), ckpt_path=tmp_path / "4.ckpt")
    run.save_checkpoint(tmp_path / "6.ckpt")
    resumed = torch.cat(first.seen + second.seen + third.seen)
    assert torch.equal(resumed, torch.cat(unbroken.seen)[:20])
    state = torch.load(tmp_path / "6.ckpt", weights_only=True)["Text"]
    assert (state["samples"], state["step"]) == (20, 6)


@pytest.mark.parametrize("loaded_first", [True, False])
@pytest.mark.parametrize("change", ["source", "seed", "context", "tokenizer"])
def test_refuses_to_resume_on_other_data(corpus: Path, tmp_path: Path, change: str, loaded_first: bool) -> None:
    state = opened(corpus).state_dict()
    other: dict[str, dict[str, Any]] = {
        "source": {},
        "seed": {"seed": 3},
        "context": {"context": 8},
        "tokenizer": {"vocab_size": 290},
    }
    if change == "source":
        corpus = write_jsonl(tmp_path / "other.jsonl", sentences(50, seed=9))
    data = text_data(corpus, **other[change])
    data.prepare_data()
    told = "fingerprint" if change in ("source", "tokenizer") else change
    # Whichever is known last is compared with the other.
    first, last = (data.load_state_dict, data.setup) if loaded_first else (data.setup, data.load_state_dict)
    known: dict[Any, Any] = {data.load_state_dict: state, data.setup: "fit"}
    first(known[first])
    with pytest.raises(UserError, match=f"trained on other data .*{told}.* without --ckpt_path") as error:
        last(known[last])
    assert "\n" not in str(error.value)


def test_other_text_may_be_validated_but_not_by_another_tokenizer(corpus: Path, tmp_path: Path) -> None:
    run = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(Recorder(), data := text_data(corpus))
    run.save_checkpoint(tmp_path / "1.ckpt")
    data.tokenizer.save(str(tmp_path / "tokenizer.json"))
    other = write_jsonl(tmp_path / "other.jsonl", sentences(50, seed=9))
    same = text_data(other, tokenizer=str(tmp_path / "tokenizer.json"), seed=5)
    trainer(tmp_path).validate(Recorder(), same, ckpt_path=tmp_path / "1.ckpt", verbose=False)
    with pytest.raises(UserError, match=r"another tokenizer; give its own with --data\.tokenizer"):
        trainer(tmp_path).validate(Recorder(), text_data(other), ckpt_path=tmp_path / "1.ckpt", verbose=False)


@pytest.mark.filterwarnings("error:Your `IterableDataset` has `__len__` defined")
def test_validate_test_and_predict_read_the_validation_documents(corpus: Path, tmp_path: Path) -> None:
    want = torch.cat([batch.targets for batch in opened(corpus).val_dataloader()])
    for stage in ("validate", "test", "predict"):
        model = Recorder()
        getattr(trainer(tmp_path), stage)(model, datamodule=text_data(corpus, workers=1))
        assert torch.equal(torch.cat(model.validated), want)


def test_the_trainer_is_asked_for_ranks(corpus: Path) -> None:
    class Asked:
        distributed_sampler_kwargs = {"num_replicas": 2, "rank": 1}  # noqa: RUF012
        accumulate_grad_batches = 1
        global_step = 0

    data = opened(corpus)
    whole, parts = next(iter(data.train_dataloader())), []
    validated = torch.cat([batch.targets for batch in data.val_dataloader()])
    data.trainer = Asked()  # type: ignore[assignment]
    parts = next(iter(data.train_dataloader()))
    assert torch.equal(parts.inputs, whole.inputs[2:])
    part = next(iter(data.val_dataloader()))
    assert torch.equal(part.targets, validated[1:5:2])


def test_errors_before_it_is_open(corpus: Path) -> None:
    data = text_data(corpus)
    with pytest.raises(UserError, match=r"call prepare_data\(\) and setup\(\) first"):
        data.train_dataloader()
    with pytest.raises(UserError, match="is missing; run prepare_data"):
        data.setup("fit")
