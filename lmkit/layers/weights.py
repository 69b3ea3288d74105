"""What owns weights and how they get their first values: a network is built on the meta device and filled at once."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lmkit.errors import UserError


class Linear(nn.Linear):
    """`nn.Linear` that carries the standard deviation of its own initialisation (GPT-2's 0.02 unless told)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False, std: float = 0.02) -> None:
        self.std = std
        super().__init__(inputs, outputs, bias=bias)

    def reset_parameters(self) -> None:
        """Weights from a normal distribution of deviation `std`, biases zero."""
        nn.init.normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Embedding(nn.Embedding):
    """`nn.Embedding` that carries the standard deviation of its own initialisation."""

    def __init__(self, entries: int, dim: int, std: float = 0.02) -> None:
        self.std = std
        super().__init__(entries, dim)

    def reset_parameters(self) -> None:
        """Weights from a normal distribution of deviation `std`."""
        nn.init.normal_(self.weight, std=self.std)


def initialize(module: nn.Module, device: torch.device) -> None:
    """Gives a module built on the meta device its memory on `device`, then its first values, parents first.

    Raises:
        UserError: a `reset_parameters` leaves some of that memory as it was found.
    """
    module.to_empty(device=device)
    owned = [(part, name, tensor) for part in module.modules() for name, tensor in _owned(part)]
    for _, _, tensor in owned:
        if tensor.is_floating_point():
            nn.init.constant_(tensor, float("nan"))
    versions = [tensor._version for _, _, tensor in owned]  # which every change in place raises
    for part in module.modules():
        if callable(reset := getattr(part, "reset_parameters", None)):
            reset()
    for (part, name, tensor), version in zip(owned, versions, strict=True):
        filled = not tensor.isnan().any() if tensor.is_floating_point() else tensor._version > version
        if not filled:
            raise UserError(
                f"{type(part).__name__}.reset_parameters() does not fill {name}: fill it there too, in place, reading "
                "the layer's own attributes only"
            )


def fill(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Gives a module built on the meta device the tensors of a state, in place of first values that would be drawn.

    Args:
        module: whose tensors keep the dtypes that they were built in; what its states leave out, such as a count, is as
            `reset_parameters` has it.
        state: all tensors of the module by name, on the device where they are to be.

    Raises:
        RuntimeError: names or shapes differ.
    """
    built = module.state_dict()
    module.load_state_dict(
        {name: tensor.to(built[name].dtype) if name in built else tensor for name, tensor in state.items()}, assign=True
    )
    device = next(iter(state.values())).device
    for part in module.modules():
        unfilled = [name for name, buffer in part.named_buffers(recurse=False) if buffer.is_meta]
        if not unfilled:
            continue
        kept = {name: tensor.clone() for name, tensor in _owned(part) if name not in unfilled}
        for name in unfilled:
            setattr(part, name, torch.empty_like(getattr(part, name), device=device))
        part.reset_parameters()  # type: ignore[operator]  # which check_resets has seen
        with torch.no_grad():
            for name, tensor in kept.items():
                getattr(part, name).copy_(tensor)


def check_resets(module: nn.Module) -> None:
    """Looks for parts that `initialize` would leave unfilled.

    Raises:
        UserError: a part owns a tensor but has no `reset_parameters`.
    """
    for part in module.modules():
        if callable(getattr(part, "reset_parameters", None)):
            continue
        if owned := [name for name, _ in _owned(part)]:
            raise UserError(
                f"{type(part).__name__} owns {', '.join(owned)} but has no reset_parameters(): "
                "write one that fills them, reading its own attributes only"
            )


def _owned(module: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters and buffers of a module, without those of its parts."""
    return [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
