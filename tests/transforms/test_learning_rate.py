"""Learning rates of their own, by name, and how much of a network learns."""

from functools import partial

import pytest
from torch import nn
from torch.optim import SGD

from lmkit.errors import UserError
from lmkit.network import Decoder
from lmkit.optim.groups import apply_factors, decay_by_rank
from lmkit.tasks import Pretraining
from lmkit.transforms import Freeze, Int4, LearningRate, LoRA, learned_of, transformed

NETWORK = partial(Decoder, 61, 16, 16, 2, 2)


def rates(network: nn.Module, lr: float = 1.0) -> dict[str, float]:
    """The learning rate of each parameter that learns."""
    optimizer = SGD(decay_by_rank(network), lr=lr)
    apply_factors(optimizer)
    by_parameter = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: by_parameter[id(p)] for name, p in network.named_parameters() if p.requires_grad}


def test_all_that_learns_has_the_factor():
    network = transformed(NETWORK(), [LoRA(rank=2, also=["norm.*"]), LearningRate(10)])
    found = rates(network, 0.5)
    assert set(found.values()) == {5.0}
    assert {name for name in found if "lora_" not in name} == {"norm.weight"}


def test_what_is_named_has_it_and_factors_multiply():
    network = transformed(NETWORK(), [LearningRate(3, ["embedding.*", "blocks.-1.*"]), LearningRate(2, ["blocks.*"])])
    by_prefix = {"embedding.": 3.0, "blocks.0.": 2.0, "blocks.1.": 6.0, "norm.": 1.0}
    found = rates(network)
    assert found == {name: next(f for prefix, f in by_prefix.items() if name.startswith(prefix)) for name in found}


def test_an_adapters_two_matrices_have_rates_of_their_own():
    found = rates(transformed(NETWORK(), [LoRA(rank=2), LearningRate(10), LearningRate(4, ["*.lora_B.*"])]))
    assert {rate for name, rate in found.items() if "lora_A" in name} == {10.0}
    assert {rate for name, rate in found.items() if "lora_B" in name} == {40.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearningRate(0), "factor of LearningRate is 0: give a number above 0"),
        (lambda: LearningRate(2, ["embeding.*"])(NETWORK()), "did you mean embedding.weight"),
        (
            lambda: Pretraining(NETWORK, transforms=[LearningRate(10), LoRA(rank=2)]).configure_model(),
            "nothing learns at the rate .* list it",
        ),
        (
            lambda: transformed(NETWORK(), [Freeze(["embedding.*"]), LearningRate(2, ["embedding.*"])]),
            "'embedding.\\*', in LearningRate's names, is the name of no parameter that learns",
        ),
    ],
)
def test_mistakes_are_told(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_what_learns_is_counted_and_four_bits_count_as_numbers():
    network = NETWORK()
    whole = sum(parameter.numel() for parameter in network.parameters())
    assert learned_of(network) == (whole, whole)
    assert learned_of(Freeze(["*"], ["norm.*"])(NETWORK())) == (network.norm.weight.numel(), whole)
    pytest.importorskip("torchao")
    packed = transformed(Decoder(61, 16, 64, 2, 2), [Int4(block=32), LoRA(rank=2)])
    plain = transformed(Decoder(61, 16, 64, 2, 2), [LoRA(rank=2)])
    assert learned_of(packed) == learned_of(plain)
