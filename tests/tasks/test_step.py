"""A training step, a validation and the speedometer, each against the same thing written down plainly."""

import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader

from lmkit.callbacks import Throughput
from lmkit.data.packing import IGNORE, Batch
from lmkit.errors import RunError
from lmkit.layers import LayerNorm
from lmkit.network import Decoder
from lmkit.optim import Constant, WarmupCosine
from lmkit.tasks import Pretraining

V, T, STEPS, PARTS = 20, 6, 4, 3
NETWORK = partial(Decoder, V, T, 16, 2, 2, norm=LayerNorm)
ADAMW = partial(torch.optim.AdamW, lr=0.01, betas=(0.8, 0.9), weight_decay=0.3)
SCHEDULE = partial(WarmupCosine, warmup=2, final=0.2)
FACTORS = [0.5, 1.0, 1.0, 0.6]  # of the learning rate, by hand: the last is halfway down the cosine from 1 to 0.2


def uneven(number):
    """Micro-batches of two rows, of which the k-th has but k valid targets."""
    draws = torch.Generator().manual_seed(7)
    batches = []
    for k in range(number):
        inputs, targets = (torch.randint(V, (2, T), generator=draws) for _ in range(2))
        targets.view(-1)[1 + k % (2 * T) :] = IGNORE
        batches.append(Batch(inputs, targets, None))
    return batches


class Given(LightningDataModule):
    """Hands out batches that are given."""

    vocab_size_used, context, bytes_per_token = V, T, 3.5

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self):
        return DataLoader(self.batches, batch_size=None)


def trainer(**options):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "precision": "64-true"}
    return Trainer(**quiet, **options)


def plain_loss(network, batches):
    """The mean over all valid tokens of all batches at once."""
    inputs, targets = (torch.cat(part) for part in list(zip(*batches, strict=True))[:2])
    return F.cross_entropy(network.logits(network(inputs)).flatten(0, 1), targets.flatten(), ignore_index=IGNORE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("algorithm", "limit"), [("norm", 0.5), ("value", 0.02), ("norm", None)])
def test_steps_are_those_of_plain_torch(algorithm, limit):
    batches = uneven(STEPS * PARTS)
    torch.manual_seed(0)
    task = Pretraining(NETWORK, ADAMW, SCHEDULE, chunk=5)
    task.configure_model()
    plain = NETWORK().double()
    plain.load_state_dict(task.network.state_dict())

    losses, norms = [], []
    groups = [
        {"params": [p for p in plain.parameters() if p.ndim > 1], "weight_decay": 0.3},
        {"params": [p for p in plain.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = ADAMW(groups)
    for step in range(STEPS):
        loss = plain_loss(plain, batches[step * PARTS : (step + 1) * PARTS])
        loss.backward()
        norms.append(torch.nn.utils.get_total_norm([p.grad for p in plain.parameters()]).item())
        if limit and algorithm == "norm":
            torch.nn.utils.clip_grad_norm_(plain.parameters(), limit)
        elif limit:
            torch.nn.utils.clip_grad_value_(plain.parameters(), limit)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * FACTORS[step]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    if limit and algorithm == "norm":
        assert max(norms) > limit  # or nothing would have been clipped

    made = trainer(
        max_steps=STEPS, accumulate_grad_batches=PARTS, gradient_clip_val=limit, gradient_clip_algorithm=algorithm
    )
    made.fit(task, Given(batches))
    assert made.callback_metrics["train/loss"].item() == pytest.approx(losses[-1], rel=1e-6)
    assert made.callback_metrics["train/gradient_norm"].item() == pytest.approx(norms[-1], rel=1e-5)
    for one, other in zip(task.network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-8)  # the number of tokens is in float32


@pytest.mark.filterwarnings("ignore")
def test_validation_is_a_mean_over_tokens_and_bits_per_byte_follow():
    batches = uneven(5)
    task = Pretraining(NETWORK)
    (measures,) = trainer().validate(task, Given(batches), verbose=False)
    with torch.no_grad():
        loss = plain_loss(task.network, batches).item()
    assert measures["val/loss"] == pytest.approx(loss, rel=1e-6)
    assert measures["val/perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert measures["val/bits_per_byte"] == pytest.approx(math.log2(math.exp(loss)) / 3.5, rel=1e-6)


class Lost(Pretraining):
    """Has a loss that is no number for one batch of several."""

    def loss(self, batch):
        total, count = super().loss(batch)
        return (total * torch.nan if batch.inputs.equal(self.bad) else total), count


@pytest.mark.filterwarnings("ignore")
def test_one_batch_that_gives_no_number_is_no_number_of_the_validation():
    task, batches = Lost(NETWORK, schedule=Constant), uneven(3)
    task.bad = batches[1].inputs
    (found,) = trainer().validate(task, Given(batches), verbose=False)
    assert math.isnan(found["val/loss"])
    with pytest.raises(RunError, match="the validation loss is no longer finite at optimizer step 1"):
        trainer(max_steps=1, num_sanity_val_steps=0, val_check_interval=1).fit(task, Given(batches))


def test_tokens_a_second_and_mfu_by_the_clock(monkeypatch):
    now, logged = [0.0], {}
    monkeypatch.setattr("lmkit.callbacks.throughput.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("lmkit.callbacks.throughput.peak_flops", lambda device, dtype: 400.0)
    asked = []
    task = SimpleNamespace(
        device=torch.device("cpu"),
        network=torch.nn.Linear(2, 3),
        flops_per_token=lambda time: asked.append(time) or 10.0,
        log=lambda name, value, **_: logged.update({name: value}),
    )
    made = SimpleNamespace(
        world_size=2, accumulate_grad_batches=1, log_every_n_steps=2, global_step=0, precision="32-true"
    )
    meter, batch = Throughput(), Batch(torch.zeros(2, 8), None, None)  # 16 tokens on each of two ranks
    for step, (begins, ends) in enumerate([(0.0, 1.0), (50.0, 53.0)]):  # 49 seconds of validation between
        now[0] = begins
        meter.on_train_batch_start(made, task, batch, step)
        now[0], made.global_step = ends, step + 1
        meter.on_train_batch_end(made, task, None, batch, step)
        meter.on_validation_start(made, task)
    assert asked == [8]
    assert logged["perf/tokens_per_second"] == pytest.approx(64 / 4)
    assert logged["perf/mfu"] == pytest.approx(64 / 4 * 10 / (2 * 400))
    assert 0 < logged["perf/memory_gib"] < 1000


def test_a_part_whose_flops_cannot_be_counted_leaves_mfu_out(monkeypatch):
    def fails(time):
        raise NotImplementedError("aten::nonzero")

    logged, told = {}, []
    monkeypatch.setattr("lmkit.callbacks.throughput.rank_zero_info", told.append)
    task = SimpleNamespace(
        device=torch.device("cpu"),
        network=torch.nn.Linear(2, 3),
        flops_per_token=fails,
        log=lambda name, value, **_: logged.update({name: value}),
    )
    made = SimpleNamespace(
        world_size=1, accumulate_grad_batches=1, log_every_n_steps=1, global_step=1, precision="32-true"
    )
    meter, batch = Throughput(), Batch(torch.zeros(2, 8), None, None)
    meter.on_train_batch_start(made, task, batch, 0)
    meter.on_train_batch_end(made, task, None, batch, 0)
    assert "MFU unknown" in told[0]
    assert "perf/tokens_per_second" in logged
    assert "perf/mfu" not in logged
