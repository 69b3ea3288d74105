"""References: all of them give the same losses, of pairs and of judgements, from the command line."""

import csv
import logging
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import Trainer

from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.examples.trees import lay
from lmkit.errors import UserError
from lmkit.layers import MixtureOfExperts, SelfAttention, SigmoidRouter
from lmkit.network import Decoder, PreNorm
from lmkit.tasks import PreferenceOptimization, stored_reference
from lmkit.tasks.described import described
from lmkit.tasks.references import AdaptersOff, starting_network
from lmkit.transforms import Freeze, LearningRate, LoRA
from tests.conftest import RECIPES
from tests.tasks.conftest import SIZES, drawn, write_rows, write_start


@pytest.fixture(autouse=True)
def pairs(run):
    write_rows(Path("pairs.jsonl"), "prompt", "chosen", "rejected")


def losses(run, recipe, *options):
    name = f"{recipe}-{len([*Path().glob('runs/*')])}"
    own = [f"--name={name}", "--data.source=pairs.jsonl"]
    code, _, errors = run("fit", "-c", RECIPES / f"{recipe}.yaml", *own, *options)
    assert code == 0, errors
    with Path(f"runs/{name}/version_0/metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    return [float(line[key]) for key in ("train/loss", "val/loss", "train/kl") for line in lines if line[key]]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["dpo", "kto"])
def test_a_stored_reference_and_a_copy_are_the_same(run, start, recipe):
    stored, copied = (losses(run, recipe, *start, f"--model.reference={name}") for name in ("Stored", "FrozenCopy"))
    assert stored == pytest.approx(copied, abs=2e-5)
    assert max(stored[:3]) - min(stored[:3]) > 1e-4  # it learns


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["dpo", "kto"])
def test_adapters_switched_off_are_the_same_too(run, start, recipe):
    pytest.importorskip("peft")
    options = [*start, "--model.transforms=[LoRA]"]
    off, stored = (losses(run, recipe, *options, f"--model.reference={name}") for name in ("AdaptersOff", "Stored"))
    assert off == pytest.approx(stored, abs=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["NF4", "Int4"])
def test_a_base_in_four_bits_and_half_precision_is_its_own_reference_at_first(run, start, method):
    """Quantized from the same numbers as the run's own: those in half precision."""
    for package in ("peft", "bitsandbytes", "torchao"):
        pytest.importorskip(package)
    bits = f"{{class_path: {method}, init_args: {{block: 32}}}}"
    options = [*start, f"--model.transforms=[{bits}, LoRA]", "--trainer.precision=bf16-true"]
    off, copied, stored = (
        losses(run, "dpo", *options, f"--model.reference={name}") for name in ("AdaptersOff", "FrozenCopy", "Stored")
    )
    assert off == copied
    assert (off[0], off[4]) == pytest.approx((math.log(2), 0), abs=1e-6)
    # in batches of other examples, which half precision rounds in another way: by 0.03 nats a token, were it of one
    assert (stored[0], stored[4]) == pytest.approx((math.log(2), 0), abs=2e-4)


def test_what_is_frozen_of_an_adapter_stays_so_after_a_look_without_it():
    task = PreferenceOptimization(
        partial(Decoder, 40, 48, 16, 2, 2),
        transforms=[LoRA(rank=2), Freeze(["*lora_A*"])],
    )
    task.configure_model()
    before = {name: parameter.requires_grad for name, parameter in task.network.named_parameters()}
    assert {*before.values()} == {True, False}
    AdaptersOff().sums(task, lay(drawn(3, 40), [(CHOSEN, REJECTED)] * 3, range(3), 0))
    assert {name: parameter.requires_grad for name, parameter in task.network.named_parameters()} == before


def test_a_start_is_read_once_whatever_another_run_writes_there(tmp_path):
    path = write_start(tmp_path / "start.ckpt", seed=1)
    task = PreferenceOptimization(partial(Decoder, *SIZES.values()), init_from=str(path))
    task.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", default_root_dir=tmp_path)
    task.configure_model()
    write_start(path, seed=2)
    reference = starting_network(task).state_dict()
    assert reference.keys() == task.network.state_dict().keys()
    assert all(torch.equal(reference[name], each) for name, each in task.network.state_dict().items())


def test_a_reference_drops_nothing_out():
    network = partial(Decoder, 40, 48, 16, 2, 2, block=partial(PreNorm, dropout=0.5))
    task = PreferenceOptimization(network, transforms=[LoRA(rank=2)])
    task.configure_model()
    batch = lay(drawn(3, 40), [(CHOSEN, REJECTED)] * 3, range(3), 0)
    task.train()
    one, other = (AdaptersOff().sums(task, batch) for _ in range(2))
    assert torch.equal(one, other)
    assert task.network.training
    assert not torch.equal(one, task.log_probabilities(task.network, batch)[0])


def test_a_router_that_adjusts_itself_is_no_reference():
    pytest.importorskip("peft")
    mixture = partial(MixtureOfExperts, experts=4, router=SigmoidRouter)
    task = PreferenceOptimization(partial(Decoder, 40, 48, 16, 2, 2, feed_forward=mixture), transforms=[LoRA(rank=2)])
    task.configure_model()
    with pytest.raises(UserError, match=r"leaves on what blocks\.0\.feed_forward\.router adjusts after each step"):
        AdaptersOff().begin(task)


def test_how_a_network_learns_is_nothing_of_what_it_computes():
    network = Decoder(40, 48, 16, 2, 2)
    before = described(network)
    LearningRate(10)(network)
    assert described(network) == before


@pytest.mark.slow
def test_a_table_grows_by_what_further_runs_see(run, start, tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))

    def known():
        tables = [np.load(file) for file in (tmp_path / "cache/references").iterdir()]
        return sorted((int((~np.isnan(table)).all(1).sum()), len(table)) for table in tables)

    def fit(*options):
        small = ["--data.source=pairs.jsonl", "--data.batch_size=2", "--data.validation_fraction=0.3"]
        code, _, errors = run(
            "fit", "-c", RECIPES / "dpo.yaml", *start, *small, "--trainer.val_check_interval=1", *options
        )
        assert code == 0, errors
        return errors

    fit("--trainer.max_steps=1")
    training, validation = sorted(known(), key=lambda pair: pair[0] == pair[1])
    assert training[0] == 2
    assert validation[0] == validation[1]
    fit("--trainer.max_steps=2")
    assert (4, training[1]) in known()
    fit("--trainer.max_steps=1000", "--trainer.limit_train_batches=1", "--trainer.max_epochs=1")
    whole = known()
    assert all(count == size for count, size in whole)
    for file in (tmp_path / "cache/references").iterdir():
        file.write_bytes(file.read_bytes()[:100])
    errors = fit("--trainer.max_steps=1000", "--trainer.limit_train_batches=1", "--trainer.max_epochs=1")
    assert "is damaged " in errors
    assert known() == whole


def test_a_table_is_written_as_it_is_filled_and_keeps_what_others_have_written(tmp_path, monkeypatch):
    file, task = tmp_path / "table.npy", SimpleNamespace(trainer=SimpleNamespace(is_global_zero=True))
    monkeypatch.setattr(stored_reference, "TOGETHER", 2)
    asked = []

    def computed(task, network, rows, numbers):
        asked.append([*numbers])
        if len(asked) == 3:
            raise KeyboardInterrupt
        if len(asked) == 2:  # another run, meanwhile
            table = np.load(file)
            table[6] = 66
            np.save(file, table)
        return np.array([[number, -number] for number in numbers], np.float32)

    monkeypatch.setattr(stored_reference, "_computed", computed)
    with pytest.raises(KeyboardInterrupt):
        stored_reference._completed(task, None, range(8), [0, 1, 3, 4, 5, 6, 7], None, file)
    assert asked == [[0, 1], [3, 4], [5, 6]]
    kept = np.load(file)
    assert np.isnan(kept[:, 0]).tolist() == [False, False, True, False, False, True, False, True]
    assert kept[6].tolist() == [66, 66]
    missing = stored_reference._missing(range(8), kept)
    whole = stored_reference._completed(task, None, range(8), missing, kept, file)
    assert asked[3:] == [[2, 5], [7]]
    assert whole[:, 1].tolist() == [0, -1, -2, -3, -4, -5, 66, -7]
    assert np.array_equal(np.load(file), whole)
    assert [*tmp_path.glob("table*")] == [file]


@pytest.mark.slow
def test_a_run_goes_on_with_the_same_loss_and_is_told_of_other_options(run, start, caplog):
    small = ["--data.source=pairs.jsonl", "--name=on", "--trainer.val_check_interval=1"]
    command = ["fit", "-c", RECIPES / "dpo.yaml", *start, *small]
    assert run(*command, "--trainer.max_steps=1")[0] == 0
    recipe = Path("runs/on/version_0/config.yaml").read_text()
    further = [*command, "--ckpt_path=last", "--trainer.max_steps=2"]
    code, _, errors = run(*further, "--model.preference_loss=IPO")
    assert code == 2
    assert "of another model (model.preference_loss was DPO and is IPO): give the same --model options" in errors
    assert Path("runs/on/version_0/config.yaml").read_text() == recipe
    caplog.set_level(logging.INFO)
    code, _, errors = run(*further, "--model.preference_loss.beta=0.7")
    assert code == 0, errors
    told = "options of the loss were changed since the checkpoint: model.preference_loss.beta was 0.1 and is 0.7"
    assert told in caplog.text
    caplog.clear()
    code, _, errors = run(*further, "--trainer.max_steps=3", "--model.preference_loss.beta=0.7")
    assert code == 0, errors
    assert "options of the loss" not in caplog.text


NORM = """
from lmkit.layers import RMSNorm

class Turned(RMSNorm):
    def forward(self, x):
        return {}super().forward(x)
"""


@pytest.mark.slow
def test_a_table_is_computed_anew_where_the_code_of_a_plugin_has_changed(run, start, tmp_path, monkeypatch):
    monkeypatch.setenv("LMKIT_CACHE", str(tmp_path / "cache"))
    plugin = Path("turned.py")
    options = [f"--plugins={plugin}", "--model.network.norm=Turned", "--trainer.max_steps=1"]

    def tables(sign):
        plugin.write_text(NORM.format(sign))
        _, _, distance = losses(run, "dpo", *start, *options, "--trainer.val_check_interval=1")
        assert distance == pytest.approx(0, abs=1e-6)  # the model is its own reference at first
        return len([*(tmp_path / "cache/references").iterdir()])

    assert [tables(sign) for sign in ("", "", "-", "")] == [2, 2, 4, 4]


def test_a_loss_that_does_not_fit_the_data_is_told_before_training(run, start):
    def told(recipe, *options):
        """What is said where the data is not even looked for."""
        code, _, errors = run("fit", "-c", RECIPES / f"{recipe}.yaml", *start, "--data.source=none.jsonl", *options)
        assert code == 2
        return errors.splitlines()[-1]

    assert "DPO compares the two answers of a pair, but Judgements" in told("kto", "--model.preference_loss=DPO")
    assert "KTO needs answers to other prompts too, which Preferences" in told("dpo", "--model.preference_loss=KTO")
    assert "AdaptersOff needs a network with adapters" in told("dpo", "--model.reference=AdaptersOff")
    assert "RewardModel compares the two answers of a pair, but Judgements" in told("reward", "--data=Judgements")
    assert "but the network has context" in told("dpo", "--data.context=4096")
    said = told("sft", "--data=Preferences", "--data.source=none.jsonl")
    assert "SFT learns from Batch, but Preferences gives Trees: set data to Chat or Text" in said
    assert not [*Path().glob("runs/*/*")]


def test_a_table_is_of_the_networks_options_too():
    def network(**options):
        return described(Decoder(20, 16, 16, 1, 2, attention=partial(SelfAttention, **options)))

    assert network() == network()
    assert network() != network(window=4)
    assert network(window=4) != network(window=5)
    assert network() != network(soft_cap=30.0)
