"""Recomputed blocks: the same numbers as without, in less memory."""

import copy
import pickle
from functools import partial

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from lmkit.errors import UserError
from lmkit.layers import (
    ALiBi,
    CrossAttention,
    GatedDeltaNet,
    LayerNorm,
    Learned,
    MixtureOfExperts,
    RelativeBias,
    Rotary,
    SelfAttention,
    SigmoidRouter,
)
from lmkit.network import CrossPreNorm, Decoder, Encoder, EncoderDecoder, Layer, MultiToken, PreNorm
from lmkit.tasks import Denoising, Pretraining
from lmkit.tasks.compiling import compile_blocks
from lmkit.tasks.regulation import after_step, figures, side_loss
from lmkit.transforms import Checkpointing

V, T, DEPTH = 50, 24, 3
TINY = partial(Decoder, V, T, 24, heads=4, depth=DEPTH)
MIXTURE = partial(MixtureOfExperts, experts=4, hidden=8)
BALANCED = partial(MIXTURE, router=partial(SigmoidRouter, balance_weight=0.1, rate=0.1), shared=1)
BOTH_WAYS = partial(RelativeBias, both_ways=True)
LAYERS = [Layer(attention=partial(SelfAttention, window=4)), Layer(position=RelativeBias, feed_forward=MIXTURE)]
NETWORKS = {
    "decoder": {},
    "dropout": {"block": partial(PreNorm, dropout=0.2)},
    "alibi": {"position": ALiBi},
    "relative bias": {"position": RelativeBias},
    "learned positions": {"position": Learned, "norm": LayerNorm},
    "windows": {"attention": partial(SelfAttention, window=4), "position": RelativeBias},
    "linear": {"attention": GatedDeltaNet},
    "mixture": {"feed_forward": MIXTURE},
    "balanced mixture": {"feed_forward": BALANCED},
    "layers that differ": {"pattern": LAYERS},
}


def ids(rows, time, seed=0):
    return torch.randint(V, (rows, time), generator=torch.Generator().manual_seed(seed))


def documents(rows, time):
    lengths = torch.tensor([5, 1, time - 6])
    return torch.repeat_interleave(torch.arange(3), lengths)[None].expand(rows, -1)


def pair(make, every=1):
    """A network in training, and one of the same numbers that recomputes."""
    torch.manual_seed(0)
    plain = make().double()
    other = make().double()
    other.load_state_dict(plain.state_dict())
    return plain, Checkpointing(every)(other)


def step(network, *inputs):
    """Loss, layers' own loss, figures and gradients of one step, and the generator's state after it."""
    torch.manual_seed(1)
    network.zero_grad()
    loss = network.logits(network(*inputs)).logsumexp(-1).pow(2).sum()
    beside = side_loss(network)
    (loss + beside).backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return loss, torch.as_tensor(beside), figures(network), gradients, torch.get_rng_state()


def assert_same(one, other):
    """Equal to the last bit, but for a table of biases, to whose gradient the blocks' are added one by one."""
    for mine, theirs in zip(one, other, strict=True):
        if isinstance(mine, dict):
            tables = [(mine.pop(name), theirs.pop(name)) for name in [*mine] if "table" in name]
            for table in tables:
                torch.testing.assert_close(*table, rtol=0, atol=1e-15)
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("apart", [False, True], ids=["joined", "documents"])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_losses_and_gradients_are_the_same_numbers(options, every, apart):
    plain, recomputed = pair(partial(TINY, **options), every)
    inputs = (ids(2, T), documents(2, T)) if apart else (ids(2, T),)
    assert_same(step(plain, *inputs), step(recomputed, *inputs))
    assert_same(step(plain, *inputs), step(recomputed, *inputs))  # once more: nothing is left of the first time
    assert len(step(plain, *inputs)[3]) == len([*plain.parameters()])


@pytest.mark.parametrize("apart", [False, True], ids=["joined", "documents"])
@pytest.mark.parametrize(("reads", "writes"), [(Rotary, Rotary), (BOTH_WAYS, RelativeBias)], ids=["rotary", "bias"])
@pytest.mark.parametrize("feed_forward", [None, BALANCED], ids=["dense", "mixture"])
def test_an_encoder_decoder_too(reads, writes, feed_forward, apart):
    options = {"feed_forward": feed_forward} if feed_forward else {}
    block = partial(CrossPreNorm, cross=partial(CrossAttention, heads=4))
    encoder, decoder = (
        partial(Encoder, V, T, 24, 2, 4, position=reads, **options),
        partial(Decoder, V, T, 24, 2, 4, position=writes, block=block, **options),
    )
    plain, recomputed = pair(partial(EncoderDecoder, encoder, decoder))
    inputs = (ids(2, T), ids(2, 12, 1), *((documents(2, T), documents(2, 12)) if apart else ()))
    assert_same(step(plain, *inputs), step(recomputed, *inputs))


def test_long_documents_on_the_cpu_too():
    plain, recomputed = pair(partial(Decoder, V, 300, 16, 2, 2))  # long enough for a call for each
    tokens, ids_of = ids(1, 300), (torch.arange(300) >= 160).long()[None]
    assert_same(step(plain, tokens, ids_of), step(recomputed, tokens, ids_of))


def test_a_routers_loads_are_counted_once():
    plain, recomputed = pair(partial(TINY, feed_forward=BALANCED))
    for _ in range(2):  # micro-batches
        assert_same(step(plain, ids(2, T)), step(recomputed, ids(2, T)))
    for one, other in zip(plain.buffers(), recomputed.buffers(), strict=True):
        assert torch.equal(one, other)
    loads = plain.blocks[0].feed_forward.router.loads
    assert loads.sum() == 2 * 2 * T * 2  # micro-batches of two rows, and two experts a token
    for network in (plain, recomputed):
        after_step(network, lambda tensor: tensor)
    biases = [network.blocks[0].feed_forward.router.bias for network in (plain, recomputed)]
    assert torch.equal(*biases)
    assert biases[0].abs().sum() > 0


def test_the_dtype_of_the_forward_pass_is_that_of_the_second_run():
    """Lightning's `64-true` sets the default for the former only; a mixture divides integers."""
    plain, recomputed = pair(partial(TINY, feed_forward=BALANCED))
    told = []
    for network in (plain, recomputed):
        torch.set_default_dtype(torch.float64)
        try:
            loss = network(ids(2, T)).pow(2).sum() + side_loss(network)
        finally:
            torch.set_default_dtype(torch.float32)
        loss.backward()
        assert torch.get_default_dtype() == torch.float32
        told.append([parameter.grad for parameter in network.parameters()])
    assert_same(*told)


def test_the_precision_of_the_forward_pass_is_that_of_the_second_run():
    told = []
    for network in pair(partial(TINY, feed_forward=MIXTURE)):
        with torch.autocast("cpu", torch.bfloat16):
            loss = network.float()(ids(2, T)).pow(2).sum() + side_loss(network)
        loss.backward()
        told.append([parameter.grad for parameter in network.parameters()])
    assert_same(*told)


def test_what_a_layer_leaves_is_of_the_first_run_and_holds_no_second_graph():
    _, network = pair(partial(TINY, feed_forward=MIXTURE))
    loss = network(ids(2, T)).pow(2).sum() + side_loss(network)
    left = {layer: (layer.side_losses, layer.figures) for layer in network.modules() if hasattr(layer, "figures")}
    loss.backward()
    assert len(left) == 2 * DEPTH
    for layer, (side_losses, told) in left.items():
        assert layer.side_losses is side_losses
        assert layer.figures is told


def test_names_in_the_state_stay():
    plain, recomputed = pair(TINY)
    assert [*plain.state_dict()] == [*recomputed.state_dict()]
    assert [name for name, _ in plain.named_modules()] == [name for name, _ in recomputed.named_modules()]


def bytes_saved(network, *inputs):
    """What a forward keeps for the backward pass beside parameters, each storage once."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, lest its place is given anew
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = network(*inputs)
    assert hidden.requires_grad
    return sum(size for size, _ in kept.values())


def test_a_recomputed_block_keeps_what_enters_it_and_no_more():
    """Saved tensors within a recomputed block never reach the hooks; its input is kept, T x D numbers of 8 bytes."""
    saved = {
        every: bytes_saved(pair(partial(TINY, depth=4), every or 1)[bool(every)], ids(2, T)) for every in (0, 1, 2)
    }
    entering = 2 * T * 24 * 8
    ends = bytes_saved(pair(partial(TINY, depth=1))[1], ids(2, T)) - entering  # of embedding, last norm, head
    assert saved[1] <= ends + 4 * entering
    block = (saved[0] - ends) / 4
    assert block > 10 * entering
    assert saved[2] == pytest.approx(ends + 2 * block + 2 * entering, abs=2 * entering)


def test_nothing_is_recomputed_outside_of_training(monkeypatch):
    monkeypatch.setattr("lmkit.transforms.checkpointing.checkpoint", lambda *_, **__: pytest.fail("recomputed"))
    plain, network = pair(TINY)
    tokens = ids(2, T)
    cache = network.cache()
    pieces = [network(piece, cache=cache) for piece in tokens.split([7, 1, 16], dim=1)]  # in training, with gradients
    torch.testing.assert_close(torch.cat(pieces, dim=1), plain(tokens), rtol=0, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(network(tokens), plain(tokens))
    network.eval()(tokens).sum().backward()
    assert network.blocks[0].attention.q.weight.grad is not None


@pytest.mark.parametrize("how", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_runs_its_own_blocks(how):
    _, network = pair(TINY)
    network.blocks[0].forward._compiled = network.blocks[0].attention.forward  # as `compile` leaves a function
    assert how(network).blocks[0].forward._compiled is None
    network.blocks[0].forward._compiled = None
    other = how(network)
    before = network(ids(1, T))
    with torch.no_grad():
        for parameter in other.blocks.parameters():
            parameter.zero_()
    assert not torch.equal(other(ids(1, T)), before)
    assert other.blocks[0].forward.block is other.blocks[0]
    torch.testing.assert_close(network(ids(1, T)), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("every", "message"), [(0, "every is 0: give 1"), (4, "every is 4, but the network has 3 blocks")]
)
def test_a_number_of_no_block_is_refused(every, message):
    with pytest.raises(UserError, match=message):
        Checkpointing(every)(TINY())


def test_recomputation_is_no_flops_of_the_model():
    for make, task in ((TINY, Pretraining), (partial(TINY, feed_forward=MIXTURE), Pretraining)):
        plain, recomputed = (task(make, transforms=t).flops_per_token(T) for t in (None, [Checkpointing()]))
        assert plain == recomputed > 0


def test_it_runs_where_a_recipe_is_rehearsed():
    task = Pretraining(TINY, transforms=[Checkpointing()])
    task.rehearse(1000)
    with torch.device("meta"):
        network = task._make()
        network(ids(2, T)).sum().backward()  # which a rehearsal would not tell of
        assert network.blocks[0].attention.q.weight.grad.shape == (24, 24)
    block = partial(CrossPreNorm, cross=partial(CrossAttention, heads=4))
    both = partial(EncoderDecoder, partial(Encoder, V, T, 24, 2, 4), partial(Decoder, V, T, 24, 2, 4, block=block))
    Denoising(both, transforms=[Checkpointing(2)]).rehearse(1000)


def test_further_heads_read_a_recomputed_network():
    plain, recomputed = pair(TINY)
    torch.manual_seed(2)
    heads = MultiToken(plain, 2).double()
    tokens, told = ids(2, T), []
    for network in (plain, recomputed):
        heads.zero_grad()
        sum(later.pow(2).sum() for later in heads(network, network(tokens), tokens, None)).backward()
        told.append([p.grad.clone() for module in (network, heads) for p in module.parameters()])
    assert_same(*told)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"feed_forward": BALANCED}, {"position": RelativeBias}], ids=str)
def test_compiled_blocks_are_recomputed_and_the_same_function(options):
    torch._dynamo.reset()
    plain, recomputed = pair(partial(TINY, **options))
    compile_blocks(recomputed)
    frames = torch._dynamo.utils.counters["frames"]["ok"]
    inputs = (ids(2, T), documents(2, T))
    assert bytes_saved(recomputed, *inputs) < 0.5 * bytes_saved(plain, *inputs)
    for one, other in zip(step(plain, *inputs)[:4], step(recomputed, *inputs)[:4], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)
    assert torch._dynamo.utils.counters["frames"]["ok"] > frames
    assert all(block._compiled_call_impl is None for block in recomputed.blocks)


def test_a_compiler_is_given_what_is_recomputed_not_the_recomputation():
    _, network = pair(TINY, 2)
    compile_blocks(network)  # which a later forward would do
    compiled = [block._compiled_call_impl is not None for block in network.blocks]
    assert compiled == [False, True, False]
    assert all(network.blocks[number].forward._compiled is not None for number in (0, 2))
