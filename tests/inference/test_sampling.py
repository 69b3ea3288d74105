"""Sampling and generation."""

import pytest
import torch
from torch import nn

from lmkit.inference import Sampler, generate
from lmkit.layers import ALiBi, Learned, Rotary
from lmkit.network import Decoder

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]])


def test_greedy_takes_the_most_likely():
    assert Sampler(temperature=0)(LOGITS).tolist() == [0]


def test_temperature_divides_the_logits():
    torch.testing.assert_close(Sampler(0.5).probabilities(LOGITS), (2 * LOGITS).softmax(-1))


def test_top_k_keeps_k():
    kept = Sampler(top_k=2).probabilities(LOGITS)
    torch.testing.assert_close(kept[0, :2], LOGITS[0, :2].softmax(-1))
    assert kept[0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize(("share", "kept"), [(0.1, 1), (0.64, 1), (0.65, 2), (0.9, 3), (1.0, 4)])
def test_top_p_keeps_the_fewest_that_reach_p(share, kept):
    # probabilities are 0.644, 0.237, 0.087, 0.032
    probabilities = Sampler(top_p=share).probabilities(LOGITS)
    assert (probabilities > 0).sum() == kept
    assert probabilities.sum().item() == pytest.approx(1)


def test_draws_follow_the_probabilities_and_the_seed():
    sampler = Sampler(seed=0)
    draws = sampler(LOGITS.expand(20_000, 4))
    shares = torch.bincount(draws, minlength=4) / 20_000
    torch.testing.assert_close(shares, LOGITS.softmax(-1)[0], atol=0.015, rtol=0)
    again = [Sampler(seed=5)(LOGITS.expand(50, 4)).tolist() for _ in range(2)]
    assert again[0] == again[1]
    assert Sampler(seed=6)(LOGITS.expand(50, 4)).tolist() != again[0]


@pytest.mark.parametrize("position", [Rotary, Learned, ALiBi])
def test_cached_and_uncached_give_the_same_tokens_past_the_context_too(position):
    torch.manual_seed(0)
    network = Decoder(50, 12, 24, 2, 4, position=position).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    prompt = torch.randint(50, (3, 5))
    tokens = [torch.stack(list(generate(network, prompt, Sampler(seed=1), 40, cached))) for cached in (True, False)]
    assert torch.equal(*tokens)
    assert tokens[0].shape == (40, 3)


def test_generation_continues_what_the_network_learned():
    torch.manual_seed(0)
    network = Decoder(10, 16, 32, 2, 4)
    row = torch.arange(10).repeat(3)[None, :16]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(100):
        loss = nn.functional.cross_entropy(network.logits(network(row[:, :-1])).flatten(0, 1), row[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    chosen = [int(token) for token in generate(network.eval(), row[:, :3], Sampler(temperature=0), 10)]
    assert chosen == [3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
