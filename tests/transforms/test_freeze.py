"""Frozen parameters: which they are, and that nothing touches them."""

from functools import partial

import pytest
import torch

from lmkit.errors import UserError
from lmkit.layers import CrossAttention, LayerNorm
from lmkit.network import CrossPreNorm, Decoder, Encoder, EncoderDecoder
from lmkit.optim import decay_by_rank
from lmkit.tasks import Pretraining
from lmkit.transforms import Checkpointing, Freeze, Transform, check_learns, transformed
from tests.tasks.test_step import ADAMW, PARTS, SCHEDULE, STEPS, Given, T, V, plain_loss, trainer, uneven

NETWORK = partial(Decoder, V, T, 16, 3, 2, norm=LayerNorm)


def frozen(network):
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"names": ["embedding.weight"]}, lambda name: name == "embedding.weight"),
        ({"names": ["blocks.[01].*"]}, lambda name: name.startswith(("blocks.0.", "blocks.1."))),
        ({"names": ["embedding.*", "*norm*"]}, lambda name: name.startswith("embedding.") or "norm" in name),
        ({"names": ["*"], "but": ["blocks.2.*", "norm.*"]}, lambda name: not name.startswith(("blocks.2.", "norm."))),
        ({"names": ["*"], "but": ["blocks.-[12].*"]}, lambda name: not name.startswith(("blocks.1.", "blocks.2."))),
        ({"names": ["blocks.-3.*", "norm.*"]}, lambda name: name.startswith(("blocks.0.", "norm."))),
        (
            {"names": ["blocks.[0-2].*"], "but": ["blocks.-1.*"]},
            lambda name: name.startswith(("blocks.0.", "blocks.1.")),
        ),
    ],
)
def test_names_that_match_are_frozen_and_no_others(options, expected):
    network = NETWORK()
    assert Freeze(**options)(network) is network
    assert frozen(network) == {name for name, _ in network.named_parameters() if expected(name)}
    assert frozen(network)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["embeding.*"]}, r"'embeding.\*', in Freeze's names, .* did you mean embedding.weight"),
        ({"names": ["embedding"]}, "did you mean embedding.weight"),
        ({"names": ["embedding.*", "blocks.0.atention.q.weight"]}, "did you mean blocks.0.attention.q.weight"),
        ({"names": ["blocks.-4.*"]}, r"'blocks.-4.\*', in Freeze's names, is the name of no parameter of the network"),
        ({"names": ["zzz"]}, "they are called embedding.weight, blocks.0"),
        ({"names": ["blocks.*"], "but": ["embedding.*"]}, "in Freeze's but, is the name of no frozen parameter"),
    ],
)
def test_a_pattern_that_matches_nothing_is_told_with_near_names(options, message):
    network = NETWORK()
    with pytest.raises(UserError, match=message):
        Freeze(**options)(network)
    assert not frozen(network)


def test_nothing_to_freeze_and_nothing_left_to_learn_are_mistakes():
    with pytest.raises(UserError, match="Freeze has no names"):
        Freeze([])
    transforms = [Freeze(["*"]), Checkpointing()]
    with pytest.raises(UserError, match="nothing of the network is left to learn after Freeze, Checkpointing"):
        check_learns(transformed(NETWORK(), transforms), transforms)


def test_either_name_of_a_shared_embedding_freezes_it():
    block = partial(CrossPreNorm, cross=partial(CrossAttention, heads=2))
    for name in ("encoder", "decoder"):
        network = EncoderDecoder(partial(Encoder, V, T, 16, 1, 2), partial(Decoder, V, T, 16, 1, 2, block=block))
        Freeze([f"{name}.embedding.*"])(network)
        assert not network.decoder.embedding.weight.requires_grad
        Freeze(["*"], but=["encoder.embedding.*"])(
            fresh := type(network)(partial(Encoder, V, T, 16, 1, 2), partial(Decoder, V, T, 16, 1, 2, block=block))
        )
        assert fresh.decoder.embedding.weight.requires_grad


def test_a_transform_that_gives_no_network_is_told():
    class Forgets(Transform):
        def __call__(self, network):
            network.requires_grad_(True)

    with pytest.raises(UserError, match="Forgets gives a value of class NoneType"):
        transformed(NETWORK(), [Forgets()])


def test_the_optimizer_is_not_given_what_is_frozen():
    network = Freeze(["*norm*"])(NETWORK())
    (matrices,) = decay_by_rank(network)
    assert len(matrices["params"]) == sum(parameter.ndim == 2 for parameter in network.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", [["embedding.*", "blocks.0.*"], ["blocks.[12].*", "norm.*"], ["*.q.*"]])
def test_steps_are_those_of_plain_torch_that_optimizes_the_rest(names):
    batches = uneven(STEPS * PARTS)
    torch.manual_seed(0)
    task = Pretraining(NETWORK, ADAMW, SCHEDULE, transforms=[Freeze(names)], chunk=5)
    task.configure_model()
    plain = NETWORK().double()
    plain.load_state_dict(task.network.state_dict())
    still = frozen(task.network)
    before = {name: value.clone() for name, value in plain.state_dict().items() if name in still}
    learned = [parameter for name, parameter in plain.named_parameters() if name not in still]
    optimizer = ADAMW(
        [
            {"params": [p for p in learned if p.ndim > 1]},
            {"params": [p for p in learned if p.ndim == 1], "weight_decay": 0.0},
        ]
    )
    for step, factor in enumerate([0.5, 1.0, 1.0, 0.6]):
        plain_loss(plain, batches[step * PARTS : (step + 1) * PARTS]).backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in learned])
        torch.nn.utils.clip_grad_norm_(learned, 0.5)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * factor
        optimizer.step()
        plain.zero_grad()
    made = trainer(max_steps=STEPS, accumulate_grad_batches=PARTS, gradient_clip_val=0.5)
    made.fit(task, Given(batches))
    assert made.callback_metrics["train/gradient_norm"].item() == pytest.approx(norm.item(), rel=1e-5)
    for name, value in task.network.state_dict().items():
        if name in still:
            assert torch.equal(value, before[name].double()), name
        torch.testing.assert_close(value, plain.state_dict()[name], rtol=0, atol=1e-8)


def test_gradients_that_nothing_takes_are_no_flops():
    whole, part = (Pretraining(NETWORK, transforms=t) for t in (None, [Freeze(["embedding.*", "blocks.*"])]))
    assert part.flops_per_token(T) < 0.5 * whole.flops_per_token(T)  # all that is left is the forward, and the norm
