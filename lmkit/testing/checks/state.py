"""The state dict holds all that a layer has learned."""

from typing import Any

import torch
from torch import Tensor, nn

from lmkit.testing.results import Failed, clean, counted, difference, hold
from lmkit.testing.suite import check
from lmkit.testing.whole import MODULES, Module


@check(
    "state dict", MODULES, "keep what is learned in parameters and persistent buffers, of shapes that the options set"
)
def round_trip(subject: Module) -> str | None:
    """A layer that has been in training is saved; another one that loads it gives the same."""
    torch.manual_seed(1)
    one, x = subject.layer(seed=1), subject.stream()
    if loose := [name for name, part in one.named_modules() for name in _loose(name, part)]:
        raise Failed(
            f"{', '.join(loose)} is a bare tensor, which is neither saved nor moved", do="register_buffer() it"
        )
    with torch.no_grad():
        subject.call(one.train(), subject.stream(seed=5))  # which may change buffers
    torch.manual_seed(2)
    other = subject.layer(seed=2)
    kept = {name: value.clone() for name, value in one.state_dict().items()}
    try:
        other.load_state_dict(kept)
    except RuntimeError as error:
        raise Failed(clean(RuntimeError(" ".join(str(error).split())))) from error
    results = zip(subject.call(one.eval(), x), subject.call(other, x), strict=True)
    hold(
        max(difference(*pair) for pair in results), 0.0, "a layer that loaded the state of another gives other results"
    )
    return counted(len(kept), "tensor")


def _loose(prefix: str, part: nn.Module) -> list[str]:
    """Tensors among a module's plain attributes, in lists and dictionaries too."""
    found = []
    for name, value in vars(part).items():
        inside: Any = value if isinstance(value, list | tuple) else [value]
        if isinstance(value, dict) and name not in ("_parameters", "_buffers", "_modules"):
            inside = value.values()
        if any(isinstance(entry, Tensor) for entry in inside):
            found.append(f"{prefix}.{name}" if prefix else name)
    return found
