"""The tensors of an adapted network by name: those of the network as it was, with its adapters merged in or without."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.transforms.adapter import Adapter
from lmkit.transforms.transform import Transform

BASE = ".base_layer."
"""In the name of a tensor that an adapted module had before."""


def adapter_of(transforms: Iterable[Transform]) -> Adapter | None:
    """The adapter among the transforms of a recipe; none if there is none."""
    return next((transform for transform in transforms if isinstance(transform, Adapter)), None)


def adapted(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The modules that have adapters, each with the tensors of its own by peft's names, such as `lora_A`."""
    found: dict[str, dict[str, Tensor]] = {name.partition(BASE)[0]: {} for name in state if BASE in name}
    for name, tensor in state.items():
        if (module := _adapter_in(name, found)) is not None:
            found[module][name.removeprefix(f"{module}.").partition(".")[0]] = tensor
    return found


def base_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network as it was, by the names they had; the very ones, so that they can be filled too."""
    modules = adapted(state)
    return {name.replace(BASE, "."): tensor for name, tensor in state.items() if _adapter_in(name, modules) is None}


@torch.no_grad()
def merged_state(state: Mapping[str, Tensor], transforms: Iterable[Transform]) -> dict[str, Tensor]:
    """The tensors of a network without adapters that computes what the adapted one does.

    Args:
        state: of the adapted network.
        transforms: those of its recipe.

    Raises:
        UserError: the network has adapters that no transform has put in.
    """
    merged, adapter = base_state(state), adapter_of(transforms)
    for module, parts in adapted(state).items():
        if adapter is None:
            raise UserError(f"{module} is adapted, but the recipe has no adapter, such as LoRA, in model.transforms")
        weight = merged[f"{module}.weight"]
        exact = weight.to(torch.promote_types(weight.dtype, torch.float32))  # so that it is rounded once
        merged[f"{module}.weight"] = adapter.merged(exact, parts).to(weight.dtype)
    return merged


def _adapter_in(name: str, modules: Mapping[str, object]) -> str | None:
    """The adapted module whose adapter a tensor is of; none if it is of the network as it was."""
    if BASE in name:
        return None
    parts = name.split(".")
    outer = (".".join(parts[:end]) for end in range(1, len(parts)))
    return next((module for module in outer if module in modules), None)
