"""Scales of (IA)^3 beside an exported base: one of a file's matrices that is several of ours has those of all."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.adapters.factors import MERGED, Parts, module_of, moved, moved_back, turned
from lmkit.hf.adapters.names import shortest
from lmkit.hf.tables.rule import Rule
from lmkit.transforms.ia3 import scales_inputs


class Scales(NamedTuple):
    """What is learned beside one matrix of a file."""

    scale: Tensor
    """Of what it gives (outputs, 1), or of what it takes (1, inputs)."""
    of_inputs: bool
    turned: bool
    """Whether the file's matrix is transposed, (inputs, outputs)."""


@torch.no_grad()
def scales_of(rule: Rule, parts: Parts, base: Mapping[str, Tensor]) -> Scales:
    """The scales of a file's matrix.

    Args:
        rule: by which it is made of ours.
        parts: the adapters of all modules.
        base: our tensors without adapters.

    Raises:
        UserError: the file does not have rows of ours as rows, or columns, of its own, or has matrices in one whose
            inputs are scaled.
    """
    own = {name: parts.get(module_of(name), {}).get("ia3_l") for name in rule.ours}
    across = turned(rule, {name: base[name][:, :1] for name in rule.ours})
    if not any(scales_inputs(module_of(name)) for name in own):
        sizes = {name: base[name].new_ones(base[name].size(0)) for name in own}
        told = {name: sizes[name] if scale is None else scale.squeeze(1) for name, scale in own.items()}
        return Scales(moved(rule, told).unsqueeze(1), False, across)
    (first, *others) = own.values()
    if others or first is None:
        raise UserError(f"{rule.theirs} of the exported base holds {', '.join(own)}, whose inputs are scaled: {MERGED}")
    return Scales(first, True, across)


@torch.no_grad()
def scales_back(rule: Rule, scale: Tensor, base: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The same way back: the scales of our modules, by peft's names. One of several that scales nothing has none.

    Args:
        rule: by which the file's matrix is made of ours.
        scale: beside the file's matrix, as peft has it.
        base: our tensors without adapters, which may be on the meta device.

    Raises:
        UserError: it is of another shape, or scales what a module takes where ours scales what it gives.
    """
    (first, *others) = rule.ours
    if scales_inputs(module_of(first)):
        wanted = (1, base[first].size(1))
        if others or tuple(scale.shape) != wanted:
            raise _other(rule, scale, wanted)
        return {module_of(first): {"ia3_l": scale}}
    wanted = (sum(base[name].size(0) for name in rule.ours), 1)
    if tuple(scale.shape) != wanted or any(scales_inputs(module_of(name)) for name in others):
        raise _other(rule, scale, wanted)
    rows = {name: scale.new_empty(base[name].size(0)) for name in rule.ours}
    moved_back(rule, scale.squeeze(1), rows)
    learned = [name for name, numbers in rows.items() if (numbers != 1).any()] or [*rows]
    return {module_of(name): {"ia3_l": rows[name].unsqueeze(1)} for name in learned}


def _other(rule: Rule, scale: Tensor, wanted: tuple[int, ...]) -> UserError:
    of = ", ".join(map(module_of, rule.ours))
    return UserError(
        f"the adapter scales {module_of(rule.theirs)} by numbers of shape {tuple(scale.shape)}, but {of} can be scaled "
        f"by {wanted} only: give an adapter of that base, or merge it by peft"
    )


def scales_config(modules: Mapping[str, Scales], others: Collection[str]) -> dict[str, Any]:
    """What peft is told of them.

    Args:
        modules: the scales of each adapted module of the exported base, by its name.
        others: the names of its other modules.
    """
    inputs = [name for name, scales in modules.items() if scales.of_inputs]
    outputs = [name for name in modules if name not in inputs]
    ends = shortest(inputs, [*others, *outputs])
    return {
        "peft_type": "IA3",
        "target_modules": [*ends, *shortest(outputs, [*others, *inputs])],
        "feedforward_modules": ends,
        "fan_in_fan_out": any(scales.turned for scales in modules.values()),
    }
