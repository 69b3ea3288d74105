"""Dynamic Tanh against its formula in float64, and with the embeddings that it wants."""

import torch

from lmkit.layers import DynamicTanh, LearnedScale
from lmkit.network import Decoder


@torch.no_grad()
def test_it_is_its_formula():
    torch.manual_seed(0)
    norm = DynamicTanh(5, alpha=0.7).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    a = norm.alpha.item()
    expected = [
        [
            [(2 / (1 + torch.exp(-2 * a * v)) - 1) * w + b for v, w, b in zip(row, norm.weight, norm.bias, strict=True)]
            for row in rows
        ]
        for rows in x
    ]
    torch.testing.assert_close(norm(x), torch.tensor(expected, dtype=torch.float64))


def test_embeddings_are_scaled_by_the_root_of_the_width_at_first():
    torch.manual_seed(0)
    scaled = Decoder(50, 16, 16, 2, 4, norm=DynamicTanh, embedding_norm=LearnedScale)
    torch.manual_seed(0)
    plain = Decoder(50, 16, 16, 2, 4, norm=DynamicTanh, embedding_scale=4.0)
    ids = torch.randint(50, (2, 16))
    torch.testing.assert_close(scaled(ids), plain(ids), rtol=0, atol=0)
    torch.nn.init.constant_(scaled.embedding_norm.scale, 3.0)
    plain.embedding_scale = 3.0
    torch.testing.assert_close(scaled(ids), plain(ids), rtol=0, atol=0)
    scaled(ids).sum().backward()
    assert scaled.embedding_norm.scale.grad.item()


def test_a_network_of_both_is_causal():
    torch.manual_seed(0)
    network = Decoder(50, 16, 24, 2, 4, norm=DynamicTanh, embedding_norm=LearnedScale).double()
    ids = torch.randint(50, (2, 16))
    other = ids.clone()
    other[:, 9:] = (other[:, 9:] + 1) % 50
    torch.testing.assert_close(network(ids)[:, :9], network(other)[:, :9], rtol=0, atol=1e-12)
