"""The loss of reward models equals the probability of Bradley and Terry."""

import torch

from lmkit.losses import bradley_terry, bradley_terry_accuracy

CHOSEN, REJECTED = torch.tensor([1.0, -2.0, 0.5, 3.0]).double(), torch.tensor([0.5, -1.0, 0.5, -40.0]).double()


def test_it_is_the_probability_of_the_preference():
    strengths = CHOSEN.exp(), REJECTED.exp()
    torch.testing.assert_close(bradley_terry(CHOSEN, REJECTED), -(strengths[0] / sum(strengths)).log())
    assert bradley_terry(CHOSEN.bfloat16(), REJECTED.bfloat16()).dtype == torch.float32


def test_a_margin_is_taken_off_the_chosen_reward():
    margin = torch.tensor([0.0, 1.0, 0.3, 2.0]).double()
    torch.testing.assert_close(bradley_terry(CHOSEN, REJECTED, margin), bradley_terry(CHOSEN - margin, REJECTED))


def test_far_rewards_have_finite_losses_and_gradients():
    far = torch.tensor([1e4, -1e4]).requires_grad_()
    loss = bradley_terry(far, -far)
    (grad,) = torch.autograd.grad(loss.sum(), far)
    assert loss.tolist() == [0.0, 2e4]
    assert grad.tolist() == [0.0, -2.0]


def test_accuracy_counts_what_is_higher():
    assert bradley_terry_accuracy(CHOSEN, REJECTED).tolist() == [1, 0, 0, 1]
