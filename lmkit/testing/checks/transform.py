"""Transforms: a network to go on with, on meta too, which differs from the given one in what they declare only."""

import io

import torch
from torch import Tensor

from lmkit.network import Network
from lmkit.testing.given import VOCABULARY
from lmkit.testing.results import Failed, NotApplicable, counted, difference, finite, hold, short
from lmkit.testing.suite import check
from lmkit.testing.transforming import Transforming
from lmkit.transforms import Transform
from lmkit.transforms.four_bit_linear import codes_in

KIND = (Transform,)
EXACT = 1e-12


@check("gives a network", KIND, "return the network to go on with, whose parts give (B, T, D) as before", runs=True)
def gives(subject: Transforming) -> str | None:
    """Its logits are finite and of the same shape, in training and out of it, and its numbers stay float64."""
    network = subject.transformed()
    for training in (True, False):
        logits = subject.call(network.train(training))
        if logits.shape != (*subject.tokens().shape, VOCABULARY) or not finite(logits):
            raise Failed(f"logits are of shape {tuple(logits.shape)}, or not finite")
    codes = codes_in(network)
    plain = [(name, tensor) for name, tensor in network.state_dict().items() if name not in codes]
    if other := [name for name, tensor in plain if tensor.dtype == torch.float32]:
        raise Failed(
            f"{other[0]} is float32 in a network of float64", do="make new parts in the dtype of what is there"
        )
    return counted(len(network.state_dict()), "tensor")


@check(
    "changes what it says",
    KIND,
    'say in `changes` what it changes: "network", "learning" (which tensors), or "nothing"',
)
def changes(subject: Transforming) -> str | None:
    """Beside the network without it: names and values of the state, logits, which tensors learn, and gradients."""
    said = getattr(subject.cls, "changes", None)
    if said not in ("network", "learning", "nothing"):
        raise Failed(f"`changes` is {said!r}")
    before, after = subject.network(), subject.transformed()
    found = _differing(subject, before, after)
    allowed = {"network": {*found}, "learning": {"what learns"}, "nothing": set()}[said]
    if more := [f"{what} ({how})" for what, how in found.items() if what not in allowed]:
        raise Failed(f"it says {said!r}, but changes {', '.join(more)}")
    return f"{said}: {', '.join(found) or 'nothing'}"


@check(
    "network on meta", KIND, "decide by names and shapes, never by the numbers, and make new parts on the same device"
)
def on_meta(subject: Transforming) -> str | None:
    """On meta, and for other numbers, it gives the same names, shapes and dtypes, and the same of them learn."""
    expected = _structure(subject.transformed())
    if _structure(subject.transformed(network=subject.network(seed=5))) != expected:
        raise Failed("for a network of other numbers it gives other tensors")
    with torch.device("meta"):
        given = subject.network().to("meta")
    try:
        network = subject.transformed(network=given)
    except NotImplementedError as error:
        raise Failed("it reads numbers, which are not there on meta") from error
    if loose := [name for name, tensor in network.state_dict().items() if not tensor.is_meta]:
        raise Failed(f"{', '.join(loose)} is not on the meta device")
    if _structure(network) != expected:
        raise Failed("on meta it gives other tensors than on the CPU")
    with torch.no_grad(), torch.device("meta"):
        subject.call(network.eval(), torch.zeros_like(subject.tokens(), device="meta"))
    return counted(len(expected), "tensor")


@check("same seed, same network", KIND, "draw by torch's own generator, and keep nothing of a network in the transform")
def repeats(subject: Transforming) -> str | None:
    """Done to one network after another, and by another transform of the same options: the same, to the bit."""
    part, networks = subject.make(), []
    for each in (part, part, subject.make()):
        given = subject.network()
        torch.manual_seed(3)
        networks.append(subject.transformed(each, given))
    first = networks[0].state_dict()
    for other in networks[1:]:
        if _structure(other) != _structure(networks[0]):
            raise Failed("done again, it gives other tensors, or others of them learn")
        for name, tensor in other.state_dict().items():
            hold(difference(tensor, first[name]), 0.0, f"done again, {name} differs")
    return counted(len(first), "tensor")


@check(
    "state goes over", KIND, "keep what it adds in parameters and persistent buffers, made again by the same options"
)
def state(subject: Transforming) -> str | None:
    """What was trained is saved and loaded into a network that was built and transformed anew; it gives the same."""
    network = _stirred(subject.transformed(), 1)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    other = _stirred(subject.transformed(network=subject.network(seed=7)), 2)
    try:
        other.load_state_dict(torch.load(file, weights_only=True))
    except RuntimeError as error:
        raise Failed(" ".join(str(error).split())[:150]) from error
    worst = difference(subject.call(network.eval()), subject.call(other.eval()))
    hold(worst, 0.0, "a network that loaded the state of another gives other logits")
    return counted(len(network.state_dict()), "tensor")


@check("what is to learn learns", KIND, "let gradients through to what takes one, and use it, or freeze it")
def learns(subject: Transforming) -> str | None:
    """In training each tensor that takes a gradient has one, finite and not zero throughout."""
    network = _stirred(subject.transformed(), 1).train()
    learned = {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}
    if not learned:
        raise NotApplicable("nothing of the network is left to learn")
    _backward(subject, network)
    for name, tensor in learned.items():
        if tensor.grad is None or not tensor.grad.any():
            raise Failed(f"no gradient reaches {name}")
        if not finite(tensor.grad):
            raise Failed(f"the gradient of {name} is not finite")
    return f"{counted(len(learned), 'parameter')} of {len([*network.parameters()])}"


def _differing(subject: Transforming, before: Network, after: Network) -> dict[str, str]:
    """What differs between two networks, and how."""
    found, one, other = dict[str, str](), before.state_dict(), after.state_dict()
    if names := sorted(one.keys() ^ other.keys()):
        found["names"] = ", ".join(names[:3])
    if moved := [name for name in one.keys() & other.keys() if difference(one[name], other[name]) > 0]:
        found["values"] = min(moved)
    for training in (True, False):
        apart = difference(subject.call(before.train(training)), subject.call(after.train(training)))
        if apart > EXACT:
            found["logits"] = short(apart)
    ours, theirs = _learned(before), _learned(after)
    if turned := sorted(ours.keys() ^ theirs.keys()):
        found["what learns"] = ", ".join(turned[:3])
    _backward(subject, before.train())
    _backward(subject, after.train())
    for name in ours.keys() & theirs.keys():
        gradients = [
            tensor.grad if tensor.grad is not None else torch.zeros(0) for tensor in (ours[name], theirs[name])
        ]
        if difference(*gradients) > EXACT:
            found["gradients"] = name
    return found


def _learned(network: Network) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in network.named_parameters() if tensor.requires_grad}


def _backward(subject: Transforming, network: Network) -> None:
    """Gradients of a weighed sum of logits, if anything has one."""
    logits = subject.call(network)
    if logits.requires_grad:
        weights = torch.randn(logits.shape, generator=torch.Generator().manual_seed(3), dtype=logits.dtype)
        (logits * weights).sum().backward()


def _structure(network: Network) -> dict[str, tuple[object, ...]]:
    """Shape and dtype of each tensor, and whether it learns."""
    learned = _learned(network)
    return {name: (tensor.shape, tensor.dtype, name in learned) for name, tensor in network.state_dict().items()}


def _stirred(network: Network, seed: int) -> Network:
    """With noise on what has a gradient, as training would leave it: a part may begin with zeros."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in _learned(network).values():
            tensor.add_(torch.randn(tensor.shape, generator=draw), alpha=0.3)
    return network
