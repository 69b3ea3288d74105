"""PiSSA, (IA)^3 and LoRA+: how they begin, what they compute and what learns at which rate, beside peft's own."""

from copy import deepcopy
from functools import partial

import peft
import pytest
import torch
from peft.optimizers import create_loraplus_optimizer

from lmkit.callbacks import OptimizerOptions
from lmkit.checkpoints import AtomicCheckpoints
from lmkit.errors import UserError
from lmkit.layers import SelfAttention
from lmkit.layers.weights import fill, initialize
from lmkit.optim import decay_by_rank
from lmkit.optim.groups import FACTOR, apply_factors
from lmkit.tasks import Pretraining
from lmkit.transforms import IA3, DoRA, Freeze, LearningRate, LoRA, PiSSA, transformed
from lmkit.transforms.merging import adapted, base_state, merged_state
from tests.tasks.test_step import ADAMW, SCHEDULE, Given, trainer, uneven
from tests.transforms.test_lora import NETWORK, NETWORKS, learned, logits, stirred

EXACT = partial(PiSSA, iterations=None)
FASTER = LearningRate(4, ["*.lora_B.*"])  # which makes LoRA+ of LoRA


@pytest.mark.parametrize(
    ("transform", "parts"),
    [
        (PiSSA(rank=17), ["lora_A", "lora_A.first", "lora_B", "lora_B.first"]),  # of more than there is
        (IA3(targets="all-linear"), ["ia3_l"]),
        (IA3(), ["ia3_l"]),
    ],
)
@pytest.mark.parametrize("name", ["biases", "latent", "linear", "mixture", "both"])
def test_an_adapted_network_begins_as_it_was_and_can_be_merged(name, transform, parts):
    torch.manual_seed(0)
    network = stirred(NETWORKS[name]().double().eval())
    plain = deepcopy(network)
    transform(network)
    state = network.state_dict()
    assert {part for held in adapted(state).values() for part in held} == {*parts}
    assert all(torch.equal(tensor, plain.state_dict()[each]) for each, tensor in base_state(state).items())
    assert [*base_state(state)] == [*plain.state_dict()]
    torch.testing.assert_close(logits(network), logits(plain), rtol=0, atol=1e-12)
    changed = logits(stirred(network))
    assert (changed - logits(plain)).abs().max() > 0.01
    plain.load_state_dict(merged_state(network.state_dict(), [Freeze(["*"]), transform]))
    torch.testing.assert_close(logits(plain), changed, rtol=0, atol=1e-10)


def begun_by_peft(network, config):
    """The same network with the adapter of peft's own making."""
    other = deepcopy(network)
    peft.inject_adapter_in_model(config, other, "default")
    return other


def test_pissa_is_pefts():
    """Which changes the matrix itself; so values, what is computed and gradients are the same, but not the matrix."""
    torch.manual_seed(0)
    network = stirred(NETWORK(tied=False))
    targets = ["blocks.0.attention.q", "blocks.1.feed_forward.up"]
    config = peft.LoraConfig(r=3, lora_alpha=3, target_modules=targets, init_lora_weights="pissa")
    theirs, ours = begun_by_peft(network, config), EXACT(rank=3, targets=targets)(deepcopy(network))
    torch.testing.assert_close(logits(theirs), logits(network), rtol=0, atol=2e-5)
    assert torch.equal(logits(ours), logits(network))
    tensors = dict(theirs.named_parameters())
    for name in learned(ours):
        torch.testing.assert_close(ours.get_parameter(name), tensors[name], rtol=0, atol=1e-5)
        with torch.no_grad():
            tensors[name].copy_(ours.get_parameter(name))
    assert not torch.equal(*(each.get_submodule(targets[0]).base_layer.weight for each in (theirs, ours)))
    for each in (theirs, ours):
        stirred(each)
        logits(each).square().sum().backward()
    torch.testing.assert_close(logits(ours), logits(theirs), rtol=1e-5, atol=1e-4)
    for name in learned(ours):
        torch.testing.assert_close(ours.get_parameter(name).grad, tensors[name].grad, rtol=1e-4, atol=1e-3)


def test_pissa_takes_the_largest_singular_values():
    torch.manual_seed(0)
    u, v = (torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64)).Q for _ in range(2))
    matrix = u * 0.5 ** torch.arange(16) @ v.t()
    for transform in (EXACT(rank=3, targets=["*.0.*.q"]), PiSSA(rank=3, targets=["*.0.*.q"])):
        network = NETWORK().double()
        network.blocks[0].attention.q.weight.data.copy_(matrix)
        (parts,) = adapted(transform(network).state_dict()).values()
        best = u[:, :3] * 0.5 ** torch.arange(3) @ v[:, :3].t()
        torch.testing.assert_close(parts["lora_B"] @ parts["lora_A"], best, rtol=0, atol=1e-9)
        torch.testing.assert_close(parts["lora_B"].norm(dim=0), parts["lora_A"].norm(dim=1), rtol=1e-6, atol=0)
        assert torch.equal(parts["lora_A"], parts["lora_A.first"])
        assert torch.equal(parts["lora_B"], parts["lora_B.first"])


def test_ia3_is_pefts():
    torch.manual_seed(0)
    network = stirred(NETWORK(attention=partial(SelfAttention, bias=True)))
    targets = ["attention.k", "attention.v", "feed_forward.out"]
    config = peft.IA3Config(target_modules=targets, feedforward_modules=targets[2:])
    theirs, ours = begun_by_peft(network, config), IA3()(deepcopy(network))
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    assert learned(ours) == learned(theirs)
    theirs.load_state_dict(stirred(ours).state_dict())
    assert torch.equal(logits(ours), logits(theirs))
    k, out = ours.blocks[0].attention.k, ours.blocks[0].feed_forward.out
    x, wide = torch.randn(5, 16), torch.randn(5, out.in_features)
    scaled = (x @ k.base_layer.weight.t() + k.base_layer.bias) * k.ia3_l.default.squeeze(1)
    torch.testing.assert_close(k(x), scaled, rtol=0, atol=1e-5)
    torch.testing.assert_close(out(wide), wide * out.ia3_l.default[0] @ out.base_layer.weight.t(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("plain", ["attention.k", "attention.v", "feed_forward.out"]),
        ("latent", ["attention.k", "attention.v", "feed_forward.out"]),
        ("mixture", ["attention.k", "attention.v", "feed_forward.shared.expert.out"]),
    ],
)
def test_as_published_finds_keys_values_and_what_goes_into_out(name, parts):
    names = adapted(IA3()(NETWORKS[name]()).state_dict())
    assert {*names} == {f"blocks.{number}.{part}" for number in range(2) for part in parts}
    both = adapted(IA3()(NETWORKS["both"]()).state_dict())
    assert "decoder.blocks.0.cross.k" in both


@pytest.mark.parametrize("kind", [LoRA, DoRA, PiSSA, IA3])
def test_what_else_is_to_learn_learns_in_full(kind):
    network = NETWORK(tied=False, attention=partial(SelfAttention, bias=True))
    options = {} if kind is IA3 else {"rank": 2}
    kind(targets=["*.q"], also=["*norm*", "head.weight", "blocks.1.attention.*.bias"], **options)(network)
    names = {name for name in learned(network) if ".default" not in name}
    expected = {name for name, _ in NETWORK().named_parameters() if "norm" in name} | {"head.weight"}
    biases = {f"blocks.1.attention.{each}.bias" for each in ("q.base_layer", "k", "v", "out")}
    assert names == expected | biases
    merged = merged_state(stirred(network).state_dict(), [kind(targets=["*.q"], **options)])
    same = [name for name in names if kind is not IA3 or "base_layer" not in name]  # which (IA)^3 scales
    assert all(torch.equal(merged[name.replace(".base_layer", "")], network.get_parameter(name)) for name in same)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PiSSA(iterations=0), "iterations of PiSSA is 0: give 1 or more, such as 8, or null"),
        (lambda: IA3(targets=["*.kk"]), r"'\*.kk', in IA3's targets, is the name of no module that has a matrix"),
        (lambda: IA3(targets=[]), "IA3 has no targets"),
        (lambda: LoRA(also=["*nrm*"]), r"'\*nrm\*', in LoRA's also, is the name of no parameter of the network"),
        (
            lambda: DoRA(also=["*.1.*.k.*"]),
            r"blocks.1.attention.k.weight is in DoRA's also, but .* one of its tar",
        ),
    ],
)
def test_what_cannot_be_done_is_told(make, message):
    network = NETWORK()
    before = [*network.state_dict()]
    with pytest.raises(UserError, match=message):
        make()(network)
    assert [*network.state_dict()] == before
    assert len(learned(network)) == len([*network.parameters()])


@pytest.mark.parametrize("transforms", [[PiSSA(rank=3)], [IA3()], [LoRA(rank=3), FASTER]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_on_meta_is_filled_later_and_keeps_its_rates(transforms, dtype):
    plus = FASTER in transforms
    with torch.device("meta"):
        network = transformed(NETWORK(attention=partial(SelfAttention, bias=True)).to(dtype), transforms)
    assert all(tensor.is_meta and tensor.dtype == dtype for tensor in network.state_dict().values())
    copied = deepcopy(network)
    for one in (network, copied):
        initialize(one, torch.device("cpu"))
        plain = NETWORK(attention=partial(SelfAttention, bias=True)).to(dtype)
        plain.load_state_dict(base_state(one.state_dict()))
        torch.testing.assert_close(logits(one.eval()), logits(plain.eval()), rtol=0, atol=0)
        for parts in adapted(one.state_dict()).values():
            assert all(tensor.any() for name, tensor in parts.items() if not (plus and name == "lora_B"))
    filled = transformed(NETWORK(attention=partial(SelfAttention, bias=True)).to(dtype).to("meta"), transforms)
    fill(filled, network.state_dict())
    factors = [[group.get(FACTOR, 1) for group in decay_by_rank(each)] for each in (network, copied, filled)]
    assert factors == [[1, 4] if plus else [1]] * 3
    whole = isinstance(transforms[0], IA3 | PiSSA)  # which begin with numbers that are not to become smaller
    assert {group.get("weight_decay") for group in decay_by_rank(network)} == {0.0 if whole else None}


def test_rates_of_lora_plus_are_those_of_pefts_own_optimizer():
    torch.manual_seed(0)
    network = transformed(NETWORK(), [LoRA(rank=2), FASTER])
    ours = torch.optim.AdamW(decay_by_rank(network), lr=0.5, weight_decay=0.1)
    apply_factors(ours)
    theirs = create_loraplus_optimizer(
        network, torch.optim.AdamW, lr=0.5, loraplus_lr_ratio=4.0, loraplus_weight_decay=0.1
    )

    def rates(optimizer):
        return {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"] if p.requires_grad}

    assert rates(ours) == rates(theirs)
    assert sorted({*rates(ours).values()}) == [0.5, 2.0]
    slower = [LoRA(rank=2, also=["*norm*"]), LearningRate(0.5, ["*.lora_B.*"])]
    also = torch.optim.AdamW(decay_by_rank(transformed(NETWORK(), slower)), lr=0.5)
    apply_factors(also)
    assert [(group["lr"], len(group["params"])) for group in also.param_groups] == [(0.5, 12), (0.5, 5), (0.25, 12)]
    assert [group["weight_decay"] for group in also.param_groups] == [0.01, 0.0, 0.01]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("lr", [0.01, 0.03])
def test_a_run_goes_on_with_the_rates_of_its_schedule_and_of_its_options(lr, tmp_path, caplog):
    """Those of a group with a factor too, whether the learning rate has been changed or not."""

    def fit(steps, lr, path=None):
        torch.manual_seed(0)
        adapter = LoRA(rank=2, targets=["*.attention.*"], also=["*norm*"])
        rate = LearningRate(3, ["*.lora_B.*"])
        task = Pretraining(NETWORK, partial(ADAMW, lr=lr), lambda _: SCHEDULE(7), transforms=[adapter, rate])
        made = trainer(max_steps=steps, callbacks=[OptimizerOptions()], plugins=[AtomicCheckpoints()])
        made.fit(task, Given(uneven(2)[1:] * 8), ckpt_path=path)
        made.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return [group["lr"] for group in made.optimizers[0].param_groups], task.network.state_dict()

    begun, _ = fit(3, 0.01)
    assert begun == pytest.approx([SCHEDULE(7)(3) * rate for rate in (0.01, 0.01, 0.03)])
    with caplog.at_level("INFO"):
        after, state = fit(7, lr, tmp_path / "3.ckpt")
    assert len({*after}) == 2
    assert after[2] == pytest.approx(3 * after[0])
    assert after[0] == pytest.approx(lr * SCHEDULE(7)(7))
    assert ("lr was 0.01 and is 0.03" in caplog.text) == (lr == 0.03)
    assert "0.09" not in caplog.text
    if lr == 0.01:
        whole, expected = fit(7, 0.01)
        assert whole == after
        assert all(torch.equal(tensor, expected[name]) for name, tensor in state.items())
