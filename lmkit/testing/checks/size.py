"""Parameters and arithmetic at a real size, counted on the meta device, where nothing takes memory."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from lmkit.errors import UserError
from lmkit.testing.given import Size
from lmkit.testing.layer import LAYERS, Layer
from lmkit.testing.results import NotApplicable
from lmkit.testing.suite import check

AT = Size(dim=768, heads=12, context=1024, depth=12)


@check(
    "size on meta", LAYERS, "look at shapes only, in constructor and forward: on meta no tensor has a value", runs=True
)
def on_meta(subject: Layer) -> str | None:
    """Parameters, and operations of the products of matrices a token, forward, in a row of the whole context."""
    try:
        with torch.device("meta"):
            layer = subject.make(AT).eval()
            x = torch.empty(1, AT.context, AT.dim)
    except UserError as error:
        raise NotApplicable(f"these options are for other sizes: {error}") from error
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        subject.call(layer, x, size=AT, rotation=None, bias=None)
    parameters = sum(parameter.numel() for parameter in layer.parameters())
    flops = counter.get_total_flops() / AT.context
    return f"{_short(parameters)}weights, {_short(flops)}FLOP a token at dim {AT.dim}"


def _short(number: float) -> str:
    """Three figures with a prefix: 7.08 M."""
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g} {prefix}"
    return f"{number:.3g} "
