"""The tensors of an adapted network by name: those of the network as it was, with its adapters merged in or without,
and those that a base gives, which need not be kept with what was learned beside it.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.transforms.adapter import BASE, NAME, Adapter
from lmkit.transforms.four_bit_states import restored_state
from lmkit.transforms.transform import Transform


def adapter_of(transforms: Iterable[Transform]) -> Adapter | None:
    """The adapter among the transforms of a recipe; none if there is none."""
    return next((transform for transform in transforms if isinstance(transform, Adapter)), None)


def adapted(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The modules that have adapters, each with the tensors of its own by peft's names, such as `lora_A`."""
    found: dict[str, dict[str, Tensor]] = {name.partition(BASE)[0]: {} for name in state if BASE in name}
    for name, tensor in state.items():
        if (module := _adapter_in(name, found)) is not None:
            found[module][_part(name.removeprefix(f"{module}."))] = tensor
    return found


def _part(name: str) -> str:
    """`lora_A.default.weight` is called `lora_A`, and what else is there `lora_A.first`."""
    return name.replace(f".{NAME}", "").removesuffix(".weight")


def base_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network as it was, by the names they had; the very ones, so that they can be filled too."""
    modules = adapted(state)
    return {name.replace(BASE, "."): tensor for name, tensor in state.items() if _adapter_in(name, modules) is None}


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
        merged |= merged_into(merged, module, adapter, parts)
    return merged


@torch.no_grad()
def merged_into(
    state: Mapping[str, Tensor], module: str, adapter: Adapter, parts: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What an adapter makes of the matrix and the bias of a module in a state, by their names there."""
    done = {}
    for own, merge in (("weight", adapter.merged), ("bias", adapter.merged_bias)):
        if (tensor := state.get(f"{module}.{own}")) is not None:
            exact = tensor.to(torch.promote_types(tensor.dtype, torch.float32))  # so that it is rounded once
            done[f"{module}.{own}"] = merge(exact, parts).to(tensor.dtype)
    return done


def given_by_base(network: nn.Module) -> set[str]:
    """The names in an adapted network's state of what it has from its base and does not change: all but the adapters,
    what else learns, and buffers, which a layer may adjust by itself.
    """
    state = network.state_dict()
    modules = adapted(state)
    learned = {name for name, parameter in network.named_parameters(remove_duplicate=False) if parameter.requires_grad}
    changing = learned | {name for name, _ in network.named_buffers(remove_duplicate=False)}
    return {name for name in state if name not in changing and _adapter_in(name, modules) is None}


def as_trained(base: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a base in the dtype that they had in the run that has learned others beside them."""
    added = [tensor.dtype for name, tensor in own.items() if name not in base and tensor.is_floating_point()]
    dtype = added[0] if added else None
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in base.items()}


def beside_base(names: Iterable[str], own: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of an adapted network.

    Args:
        names: of all its tensors.
        own: what was kept of it, by these names.
        base: the tensors of its base, by the names that they have there.

    Raises:
        UserError: neither has one of them.
    """
    found: dict[str, Tensor] = {}
    for name in names:
        tensor = own.get(name, base.get(name.replace(BASE, ".")))
        if tensor is None:
            raise UserError(f"neither the checkpoint nor its base holds {name}: get the file of the checkpoint again")
        found[name] = tensor
    return found


def check_loaded(result: Any, given: Collection[str]) -> None:
    """Looks whether all was there that a base does not give.

    Args:
        result: of loading a state that need not be whole.
        given: the names of what the base gives.

    Raises:
        RuntimeError: a tensor was missing, or too much.
    """
    if missing := [name for name in result.missing_keys if name not in given]:
        raise RuntimeError(f"it lacks {', '.join(missing)}")
    if result.unexpected_keys:
        raise RuntimeError(f"it holds {', '.join(result.unexpected_keys)}, which has no place")


def _adapter_in(name: str, modules: Mapping[str, object]) -> str | None:
    """The adapted module whose adapter a tensor is of; none if it is of the network as it was."""
    if BASE in name:
        return None
    parts = name.split(".")
    outer = (".".join(parts[:end]) for end in range(1, len(parts)))
    return next((module for module in outer if module in modules), None)
