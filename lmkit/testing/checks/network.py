"""Networks: token ids to hidden states, and to logits by one matrix; rows apart, and no future where one is causal."""

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lmkit.network import Decoder, Network
from lmkit.testing.reading import cached, seeded
from lmkit.testing.results import Failed, NotApplicable, difference, finite, hold, short
from lmkit.testing.suite import check
from lmkit.testing.whole import Whole

KIND = (Network,)
EXACT = 1e-10


@check("logits", KIND, "give (B, T, D) for token ids (B, T), and (..., V) for hidden states (..., D)", runs=True)
def logits(subject: Whole) -> str | None:
    """Shapes for rows of several lengths, up to the context, by the numbers that the network tells of itself."""
    network = subject.layer()
    sizes = {name: getattr(network, name, None) for name in ("vocab_size", "context", "dim")}
    if wrong := [name for name, size in sizes.items() if not isinstance(size, int) or size < 1]:
        raise Failed(f"its {wrong[0]} is {sizes[wrong[0]]}", do="set vocab_size, context and dim in the constructor")
    for rows, time in ((1, 1), (2, network.context // 2 or 1), (2, network.context)):
        hidden, found = subject.call(network, subject.stream(rows, time))
        _shape("hidden states", hidden, (rows, time, network.dim))
        _shape("logits", found, (rows, time, network.vocab_size))
        _shape("logits of a token", network.logits(hidden[0, 0]), (network.vocab_size,))
        if not finite(found):
            raise Failed("logits are not finite")
    return f"vocab_size {network.vocab_size}, context {network.context}, dim {network.dim}"


@check("head_weight", KIND, "compute logits from the hidden states and head_weight alone, which is a parameter (V, D)")
def head(subject: Whole) -> str | None:
    """It is all that `logits` reads: the loss asks for no other gradient, since it takes logits in chunks."""
    network = subject.layer()
    _shape("head_weight", network.head_weight, (network.vocab_size, network.dim))
    hidden = subject.call(network, subject.stream())[0].detach()
    found = network.logits(hidden)
    if not found.requires_grad:
        raise Failed("logits have no gradient")
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(3), dtype=found.dtype)
    (found * weights).sum().backward()
    read = [name for name, parameter in network.named_parameters() if parameter.grad is not None]
    if len(read) != 1 or network.head_weight.grad is None:
        raise Failed(f"logits read {', '.join(read)}")
    return read[0]


@check("texts apart", KIND, "take no mean, maximum or order over the batch: each row is a text of its own")
def rows(subject: Whole) -> str | None:
    """A row is read alone, and other rows change, in training and out of it; its hidden states stay."""
    network, tokens = subject.layer(), subject.stream(3)
    others = torch.cat([tokens[:1], (tokens[1:] + 1) % subject.vocab_size])
    worst = difference(*(subject.call(network, ids)[0][:1] for ids in (tokens, tokens[:1])))
    hold(worst, EXACT, "a row read alone differs from the same row among others")
    for training in (False, True):
        network.train(training)
        worst = max(worst, difference(*(seeded(subject.call, network, ids)[0][:1] for ids in (tokens, others))))
        hold(worst, EXACT, "other rows change a row" + " in training" * training)
    return short(worst)


@check("documents of a row apart", KIND, "hand `documents` to the blocks, and begin positions anew in each document")
def documents(subject: Whole) -> str | None:
    """Two texts packed into a row are read as each of them alone."""
    if subject.rows != 1 or "documents" not in subject.arguments:
        raise NotApplicable("its forward does not take `documents` beside one row of tokens")
    network, tokens = subject.layer(), subject.stream()
    cut = tokens.size(1) // 3
    numbers = (torch.arange(tokens.size(1)) >= cut).long().expand_as(tokens)
    alone = torch.cat([network(part) for part in (tokens[:, :cut], tokens[:, cut:])], dim=1)
    worst = difference(network(tokens, documents=numbers), alone)
    hold(worst, EXACT, "documents of one row differ from the same documents alone")
    return short(worst)


@check("no later token", KIND, "be causal in every part, or leave `causal` false", runs=True)
def causal(subject: Whole) -> str | None:
    """In a network that says that it is causal, later tokens change nothing before them."""
    network, tokens = subject.layer(), subject.stream()
    if not getattr(network, "causal", False):
        raise NotApplicable("it does not say that it is `causal`")
    whole, worst = subject.call(network, tokens)[0], 0.0
    for first in (1, tokens.size(1) // 2, tokens.size(1) - 1):
        changed = torch.cat([tokens[:, :first], (tokens[:, first:] + 1) % subject.vocab_size], dim=1)
        worst = max(worst, difference(subject.call(network, changed)[0][:, :first], whole[:, :first]))
        hold(worst, EXACT, f"tokens from {first} on change hidden states before them")
    return short(worst)


@check("cache of tokens", KIND, "give each block its own part of the cache, and count positions on from it")
def cache(subject: Whole) -> str | None:
    """Of decoders: pieces and single tokens give what the row gives at once."""
    if not issubclass(subject.cls, Decoder):
        raise NotApplicable("it is no Decoder")
    network, tokens = subject.layer(), subject.stream()
    whole, worst, half = subject.call(network, tokens)[0], 0.0, tokens.size(1) // 2
    for pieces in ((half, 1, tokens.size(1) - half - 1), (1,) * tokens.size(1)):
        worst = max(worst, difference(cached(network, tokens, pieces), whole))
        hold(worst, EXACT, f"tokens read through the cache in pieces of {pieces} differ from the row at once")
    return short(worst)


@check(
    "runs on meta", KIND, "look at shapes only, in constructor and forward: on meta no tensor has a value", runs=True
)
def on_meta(subject: Whole) -> str | None:
    """Built where nothing takes memory, it stays there, and its arithmetic can be counted."""
    with torch.device("meta"):
        network = subject.make().eval()
        tokens = torch.zeros(1, network.context, dtype=torch.long)
    if loose := [name for name, tensor in network.state_dict().items() if not tensor.is_meta]:
        raise Failed(f"{', '.join(loose)} is not on the meta device", do="let torch choose the device of new tensors")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _, found = subject.call(network, tokens)
    _shape("logits on meta", found, (1, network.context, network.vocab_size))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return f"{parameters:,} weights, {counter.get_total_flops() // network.context:,} FLOP a token"


def _shape(what: str, found: object, shape: tuple[int, ...]) -> None:
    if not isinstance(found, Tensor):
        raise Failed(f"{what}: a {type(found).__name__}, not a tensor")
    if found.shape != shape:
        raise Failed(f"{what} are of shape {tuple(found.shape)}, not {shape}")
