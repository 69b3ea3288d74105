"""What an `At` says is heeded: where the tokens stand, and whether later ones may be seen."""

from dataclasses import replace

import torch

from lmkit.errors import UserError
from lmkit.layers import Attention, NoPosition
from lmkit.testing.layer import MIXING, Layer
from lmkit.testing.reading import memory, weights
from lmkit.testing.results import Failed, NotApplicable, difference, short
from lmkit.testing.suite import check


@check(
    "position is heard",
    MIXING,
    "rotate queries and keys by `at.rotation` and give `at` to `attend`, which adds its bias, or set hears_position to "
    "False in the class",
)
def position(subject: Layer) -> str | None:
    """A rotation and a bias change what the layer gives, if it runs with them at all."""
    if not getattr(subject.cls, "hears_position", True):
        raise NotApplicable("its class says that it hears none")
    layer, x, heard = subject.layer(), subject.stream(1), list[float]()
    places = torch.arange(x.size(1))[None]
    for kind in subject.positions:
        if kind is NoPosition:
            raise NotApplicable("it runs with no position")
        _, told = kind(subject.size.dim, subject.size.heads, subject.size.context)(x, places)
        told = replace(told, memory=memory(x))
        with torch.no_grad():
            silent = layer(x, replace(told, rotation=None, bias=None, masks={}))
            heard.append(difference(layer(x, told), silent))
        if heard[-1] == 0:
            raise Failed(f"{kind.__name__} changes nothing")
    return short(min(heard))


@check(
    "both directions",
    MIXING,
    "give `at` to `attend`, which hides later tokens only where `at.causal` is true, or refuse it by a UserError",
)
def directions(subject: Layer) -> str | None:
    """Where the network is not causal, as an encoder, the first token sees later ones."""
    if issubclass(subject.cls, Attention) and subject.cls.reads_memory:
        raise NotApplicable("it looks at a memory alone")
    layer, x = subject.layer(), subject.stream(1).requires_grad_()
    try:
        y = subject.call(layer, x, causal=False)[0]
    except UserError:
        raise NotApplicable("it refuses what is not causal") from None
    (gradient,) = torch.autograd.grad((y[:, 0] * weights(y[:, 0])).sum(), x)
    if not gradient[:, 1:].any():
        raise Failed("where `at.causal` is false, the first token sees no later one")
    return None
