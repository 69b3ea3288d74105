"""Preference optimization: log-probabilities of completions that share a row are those of each alone."""

from functools import partial

import numpy as np
import pytest
import torch

from lmkit.data.examples.roles import CHOSEN, REJECTED
from lmkit.data.examples.trees import lay
from lmkit.layers import GatedDeltaNet
from lmkit.losses import ORPO, SimPO
from lmkit.network import Decoder, follows_branches
from lmkit.tasks import PreferenceOptimization
from lmkit.tasks.references import Reference
from tests.tasks.conftest import drawn

V, T = 40, 48
NETWORK = partial(Decoder, V, T, 16, 2, 2)


def alone(network, shared, answer):
    """The log-probability of an answer that is read by itself."""
    ids = torch.from_numpy(np.concatenate([shared.ids, answer.ids]))
    each = network.logits(network(ids[None, :-1]))[0].log_softmax(-1)[torch.arange(len(ids) - 1), ids[1:]]
    return each[len(shared.ids) - 1 :][torch.from_numpy(answer.trained)].sum()


@pytest.mark.parametrize("network", [NETWORK, partial(NETWORK, attention=GatedDeltaNet)], ids=["shared", "apart"])
def test_completions_are_scored_as_each_alone(double, network):
    task = PreferenceOptimization(network, preference_loss=SimPO(beta=2.0, margin=0.5), chunk=5)
    task.configure_model()
    assert follows_branches(task.network) == (network is NETWORK)
    trees = drawn(5, V)
    batch = lay(trees, [(CHOSEN, REJECTED)] * 5, range(5), 0)
    sums, tokens = task.log_probabilities(task.network, batch)
    wanted = torch.stack([alone(task.network, shared, answer) for shared, *answers in trees for answer in answers])
    assert tokens.tolist() == [int(answer.trained.sum()) for _, *answers in trees for answer in answers]
    assert torch.allclose(sums, wanted, rtol=0, atol=1e-11)
    loss, count = task.loss(batch)
    loss.backward()
    found = [parameter.grad.clone() for parameter in task.network.parameters()]
    task.zero_grad()
    means = (wanted / tokens).view(5, 2)
    plain = -torch.nn.functional.logsigmoid(2.0 * (means[:, 0] - means[:, 1]) - 0.5).sum()
    plain.backward()
    assert int(count) == 5
    assert torch.allclose(loss, plain, rtol=1e-11)
    for one, parameter in zip(found, task.network.parameters(), strict=True):
        assert torch.allclose(one, parameter.grad, rtol=0, atol=1e-10)


def test_what_is_told_beside_the_loss():
    task = PreferenceOptimization(NETWORK, preference_loss=ORPO())
    task.configure_model()
    batch = lay(drawn(3, V), [(CHOSEN, REJECTED)] * 3, range(3), 0)
    task.loss(batch)
    told = task._trained.take(lambda tensor: tensor)
    sums, tokens = task.log_probabilities(task.network, batch)
    assert torch.allclose(told["log_probability_chosen"][0], sums[0::2].mean())
    assert torch.allclose(told["tokens_rejected"][0], tokens[1::2].float().mean())
    assert {"reward_chosen", "reward_rejected", "margin", "accuracy"} <= told.keys()
    assert "kl" not in told


class Given(Reference):
    """Log-probabilities that are given."""

    def __init__(self, sums):
        self._sums = sums

    def begin(self, task):
        pass

    def sums(self, task, trees):
        return self._sums


def test_kl_is_the_mean_log_ratio_of_a_token():
    reference = -torch.rand(6) * 30
    task = PreferenceOptimization(NETWORK, reference=Given(reference))
    task.configure_model()
    batch = lay(drawn(3, V), [(CHOSEN, REJECTED)] * 3, range(3), 0)
    task.loss(batch)
    told = task._trained.take(lambda tensor: tensor)
    sums, tokens = task.log_probabilities(task.network, batch)
    assert told["kl"][0].item() == pytest.approx(float((sums - reference).sum() / tokens.sum()))
    margins = 0.1 * ((sums - reference)[0::2] - (sums - reference)[1::2])
    assert told["margin"][0].item() == pytest.approx(float(margins.mean()))
    assert told["accuracy"][0].item() == pytest.approx(float((margins > 0).float().mean()))


def test_no_completion_is_no_loss():
    task = PreferenceOptimization(NETWORK, preference_loss=SimPO())
    task.configure_model()
    loss, count = task.loss(lay([], [], [], 0))
    assert (float(loss), int(count)) == (0.0, 0)
