"""Reward models: a reward is read off an answer's last token as it is alone, and is kept in checkpoints."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.examples.trees import lay
from lmkit.layers import GatedDeltaNet
from lmkit.network import Decoder
from lmkit.tasks import RewardModel
from tests.conftest import RECIPES
from tests.tasks.conftest import drawn, write_rows

V = 40
NETWORK = partial(Decoder, V, 48, 16, 2, 2)


@pytest.mark.parametrize("network", [NETWORK, partial(NETWORK, attention=GatedDeltaNet)], ids=["shared", "apart"])
def test_a_reward_is_that_of_the_last_token_of_an_answer_alone(double, network):
    task = RewardModel(network)
    task.configure_model()
    trees = drawn(5, V)
    batch = lay(trees, [(CHOSEN, REJECTED)] * 5, range(5), 0)
    wanted = []
    for shared, *answers in trees:
        for answer in answers:
            ids = torch.from_numpy(np.concatenate([shared.ids, answer.ids]))
            wanted.append(task.network(ids[None])[0, -1] @ task.head.weight[0])
    wanted = torch.stack(wanted)
    torch.testing.assert_close(task.rewards(batch), wanted, rtol=0, atol=1e-11)
    loss, count = task.loss(batch)
    loss.backward()
    found = [parameter.grad.clone() for parameter in task.parameters()]
    task.zero_grad()
    chosen, rejected = wanted.view(5, 2).T
    plain = (1 + (rejected - chosen).exp()).log().sum()
    plain.backward()
    assert int(count) == 5
    torch.testing.assert_close(loss, plain)
    for one, parameter in zip(found, task.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=0, atol=1e-10)
    told = task._trained.take(lambda tensor: tensor)
    assert float(told["accuracy"][0]) == pytest.approx(float((chosen > rejected).double().mean()))
    assert float(told["margin"][0]) == pytest.approx(float((chosen - rejected).mean()), rel=1e-5)


@pytest.mark.parametrize("halved", [False, True], ids=["mixed", "true"])
def test_rewards_are_not_rounded_to_half_precision(halved):
    task = RewardModel(NETWORK)
    task.configure_model()
    task.to(torch.bfloat16 if halved else torch.float32)
    batch = lay(drawn(40, V), [(CHOSEN, REJECTED)] * 40, range(40), 0)
    with torch.autocast("cpu", torch.bfloat16, enabled=not halved), torch.no_grad():
        rewards = task.rewards(batch)
    assert rewards.dtype == torch.float32
    assert not torch.equal(rewards, rewards.bfloat16().float())
    assert len(rewards.unique()) > 75


def test_no_pair_is_no_loss():
    task = RewardModel(NETWORK)
    task.configure_model()
    loss, count = task.loss(lay([], [], [], 0))
    assert (loss.item(), int(count)) == (0.0, 0)


@pytest.mark.slow
def test_a_run_learns_goes_on_and_tells_of_each_answer(run, start):
    write_rows(Path("pairs.jsonl"), "prompt", "chosen", "rejected")
    command = ["-c", RECIPES / "reward.yaml", *start, "--data.source=pairs.jsonl"]
    code, out, errors = run("fit", *command, "--trainer.max_steps=6")
    assert code == 0, errors
    assert "accuracy" in out
    assert "lmkit chat" not in out
    code, _, errors = run("chat", "runs/reward")
    assert code == 2
    assert "was trained by RewardModel, whose head gives scores and writes no text" in errors
    kept = torch.load("runs/reward/version_0/checkpoints/last.ckpt")["state_dict"]
    assert kept["head.weight"].shape == (1, 32)
    code, _, errors = run("predict", *command, "--ckpt_path", "last")
    assert code == 0, errors
    told = [json.loads(line) for line in Path("runs/reward/version_0/predictions.jsonl").read_text().splitlines()]
    assert "lmkit predict -c runs/reward/version_0/config.yaml --ckpt_path runs/reward/version_0" in out
    assert [row["role"] for row in told] == ["chosen", "rejected"] * (len(told) // 2)
    given = [json.loads(line) for line in Path("pairs.jsonl").read_text().splitlines()]
    for row in told:
        source = given[int(row["row"].removeprefix("pairs.jsonl, row ")) - 1]
        assert source[row["role"]] == row["text"]
        assert source["prompt"] in row["prompt"]
    rewards = torch.tensor([row["reward"] for row in told]).view(-1, 2)
    with Path("runs/reward/version_0/metrics.csv").open() as file:
        last = [line for line in csv.DictReader(file) if line["val/loss"]][-1]
    answers = [{"prompt": row["prompt"], "completion": row["chosen"]} for row in given]
    Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answers))
    single = ["--data=Judgements", "--data.source=pairs.jsonl", "--data.validation_source=answers.jsonl"]
    config = "runs/reward/version_0/config.yaml"
    code, _, errors = run("predict", "-c", config, "--ckpt_path=last", *single)
    assert code == 0, errors
    found = [json.loads(line) for line in Path("runs/reward/version_0/predictions.jsonl").read_text().splitlines()]
    assert [row["text"] for row in found] == [row["chosen"] for row in given]
    assert {row["role"] for row in found} == {None}
    by_text = {row["text"]: row["reward"] for row in found}
    for row in told[::2]:
        assert by_text[row["text"]] == pytest.approx(row["reward"], abs=1e-5)
    margins = rewards[:, 0] - rewards[:, 1]
    assert float(last["val/margin"]) == pytest.approx(margins.mean().item(), abs=1e-5)
    assert float(last["val/accuracy"]) == pytest.approx((margins > 0).float().mean().item())


@pytest.mark.slow
def test_a_run_that_goes_on_is_the_same(run, start):
    write_rows(Path("pairs.jsonl"), "prompt", "chosen", "rejected")
    command = ["fit", "-c", RECIPES / "reward.yaml", *start, "--data.source=pairs.jsonl", "--model.schedule=Constant"]
    command = [option for option in command if "warmup" not in str(option)]
    assert run(*command, "--name=whole", "--trainer.max_steps=6")[0] == 0
    assert run(*command, "--name=part")[0] == 0
    assert run(*command, "--name=part", "--trainer.max_steps=6", "--ckpt_path=last")[0] == 0
    one, other = (
        torch.load(f"runs/{name}/version_0/checkpoints/last.ckpt")["state_dict"] for name in ("whole", "part")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_answers_without_a_partner_are_refused(run, start):
    write_rows(Path("pairs.jsonl"), "prompt", "chosen", "rejected")
    own = ["--data=Judgements", "--data.source=pairs.jsonl"]
    code, _, errors = run("fit", "-c", RECIPES / "reward.yaml", *start, *own)
    assert code == 2
    assert "RewardModel compares the two answers of a pair, but Judgements gives answers without" in errors
