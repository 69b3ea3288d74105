"""Heads for later tokens: a step for each, none of which sees what it predicts, nor another document."""

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lmkit.network import FurtherHeads
from lmkit.testing.further import Further
from lmkit.testing.given import VALUES, VOCABULARY
from lmkit.testing.results import Failed, counted, difference, finite, hold, short
from lmkit.testing.suite import check

KIND = (FurtherHeads,)
EXACT = 1e-10
LENGTHS = (3, 5, 2)
"""Of documents, beyond `count`."""


@check("steps", KIND, "yield hidden states (B, T - k, D) for the k-th of `count` steps, k from 1 on", runs=True)
def steps(subject: Further) -> str | None:
    """Shapes for rows of several lengths, and the two numbers by which a task weighs the loss."""
    heads = subject.layer()
    count, weight = getattr(heads, "count", None), getattr(heads, "weight", None)
    if not isinstance(count, int) or count < 1:
        raise Failed(f"its count is {count}", do="set count, the number of steps, in the constructor")
    if not isinstance(weight, int | float) or weight < 0:
        raise Failed(f"its weight is {weight}", do="set weight, the share of its loss, in the constructor")
    for rows, time in ((1, count + 1), (2, subject.size.context)):
        found = subject.call(heads, subject.stream(rows, time))
        _shapes(found, [(rows, time - k, subject.size.dim) for k in range(1, count + 1)])
        if not all(finite(subject.network.logits(hidden)) for hidden in found):
            raise Failed("logits of what it gives are not finite")
    return f"{counted(count, 'step')}, weight {weight:g}"


@check("predicts unseen tokens", KIND, "let the i-th place of step k see tokens up to i + k, which the network gives")
def unseen(subject: Further) -> str | None:
    """Tokens from i + k + 1 on change; the first i + 1 places of step k stay."""
    heads, tokens, worst = subject.layer(), subject.stream(), 0.0
    before = subject.call(heads, tokens)
    for first in range(1, tokens.size(1)):
        changed = torch.cat([tokens[:, :first], (tokens[:, first:] + 1) % VOCABULARY], dim=1)
        for k, (one, other) in enumerate(zip(before, subject.call(heads, changed), strict=True), 1):
            stays = max(first - k, 0)
            worst = max(worst, difference(one[:, :stays], other[:, :stays]))
            hold(worst, EXACT, f"step {k} sees the token that it predicts: it changes")
    return short(worst)


@check("steps of documents apart", KIND, "tell blocks the `documents`, without the last k, and begin positions anew")
def documents(subject: Further) -> str | None:
    """Where a step predicts a token of the same document, a packed row gives what its documents give alone."""
    heads, worst, start = subject.layer(), 0.0, 0
    lengths = [heads.count + length for length in LENGTHS]
    tokens = subject.stream(2, sum(lengths))
    numbers = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).expand_as(tokens)
    packed = subject.call(heads, tokens, numbers)
    for part in tokens.split(lengths, dim=1):
        for k, alone in enumerate(subject.call(heads, part), 1):
            end = start + part.size(1) - k
            worst = max(worst, difference(packed[k - 1][:, start:end], alone))
            hold(worst, EXACT, f"in step {k}, documents of one row differ from the same documents alone")
        start += part.size(1)
    return short(worst)


@check(
    "steps on meta", KIND, "look at shapes only, in constructor and forward: on meta no tensor has a value", runs=True
)
def on_meta(subject: Further) -> str | None:
    """Built beside a network that takes no memory, and run, so that its arithmetic is counted before a run."""
    with torch.device("meta"):
        network, heads = VALUES["network"](subject.size).eval(), subject.make().eval()
        tokens = torch.zeros(1, subject.size.context, dtype=torch.long)
    if loose := [name for name, tensor in heads.state_dict().items() if not tensor.is_meta]:
        raise Failed(f"{', '.join(loose)} is not on the meta device", do="let torch choose the device of new tensors")
    with torch.no_grad():
        hidden = network(tokens)
        with FlopCounterMode(display=False) as counter:
            found = [*heads(network, hidden, tokens, None)]
    _shapes(found, [tuple(one.shape) for one in subject.call(subject.layer(), subject.stream(1))])
    parameters = sum(parameter.numel() for parameter in heads.parameters())
    return f"{parameters:,} weights, {counter.get_total_flops() // tokens.numel():,} FLOP a token"


def _shapes(found: list[Tensor], shapes: list[tuple[int, ...]]) -> None:
    if (came := [tuple(hidden.shape) for hidden in found]) != shapes:
        raise Failed(f"the steps are of shapes {came}, not {shapes}")
