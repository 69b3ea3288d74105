"""The tensors of an adapted network by name: those of the network as it was, with its adapters merged in or without."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.extra import needed
from lmkit.transforms.adapter import Adapter
from lmkit.transforms.four_bit_linear import PREFIX, dtype_of
from lmkit.transforms.four_bits import FourBits
from lmkit.transforms.transform import Transform

CODES = f".{PREFIX}codes"
"""What the name of a tensor ends with where a matrix is kept in four bits."""

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


def four_bits_of(transforms: Iterable[Transform]) -> FourBits | None:
    """What keeps matrices in four bits among the transforms of a recipe; none if nothing does."""
    return next((transform for transform in transforms if isinstance(transform, FourBits)), None)


def quantized_state(
    state: Mapping[str, Tensor], names: Iterable[str], transforms: Iterable[Transform]
) -> dict[str, Tensor]:
    """The tensors of a network, with those matrices in four bits that are so in another.

    Args:
        state: of the network as it was, with no matrix in four bits and no adapter.
        names: of the other's tensors, adapted or not.
        transforms: those of its recipe.
    """
    quantized, method = {**state}, four_bits_of(transforms)
    for name in names:
        if method is not None and name.endswith(CODES):
            module = name.removesuffix(CODES).removesuffix(BASE.rstrip("."))
            parts = method.parts(quantized.pop(f"{module}.weight"))
            quantized |= {f"{module}.{PREFIX}{each}": part for each, part in parts.items()}
    return quantized


@torch.no_grad()
def restored_state(state: Mapping[str, Tensor], transforms: Iterable[Transform]) -> dict[str, Tensor]:
    """The tensors of a network without four bits that computes what the quantized one does, adapted or not: its
    matrices are those that the codes stand for, not those that they were made of.

    Args:
        state: of the quantized network, or of one that is not.
        transforms: those of its recipe.

    Raises:
        UserError: the network has matrices in four bits that no transform has put in.
    """
    method, restored = four_bits_of(transforms), {}
    for name, tensor in state.items():
        module, _, last = name.rpartition(".")
        if not last.startswith(PREFIX) or module + CODES not in state:
            restored[name] = tensor
        elif name.endswith(CODES):
            if method is None:
                raise UserError(f"{module} is in four bits, but the recipe has no NF4 or Int4 in model.transforms")
            needed(method.package, type(method).__name__, "quantize")
            start = f"{module}.{PREFIX}"
            parts = {each.removeprefix(start): part for each, part in state.items() if each.startswith(start)}
            restored[f"{module}.weight"] = method.matrix(parts, dtype_of(parts))
    return restored


@torch.no_grad()
def merged_state(state: Mapping[str, Tensor], transforms: Iterable[Transform]) -> dict[str, Tensor]:
    """The tensors of a network without adapters that computes what the adapted one does.

    Args:
        state: of the adapted network; what is in four bits there is restored, and merged into what that gives.
        transforms: those of its recipe.

    Raises:
        UserError: the network has adapters, or matrices in four bits, that no transform has put in.
    """
    transforms = [*transforms]
    state = restored_state(state, transforms)
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
