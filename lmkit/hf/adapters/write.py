"""Writes the adapters of a network for `peft.PeftModel.from_pretrained`, which puts them beside the exported base."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.adapters.config import config_of
from lmkit.hf.adapters.factors import MERGED, Factors, factors_of, module_of
from lmkit.hf.adapters.foreign import CONFIG, WEIGHTS
from lmkit.hf.adapters.saved import config_with, saved_of
from lmkit.hf.adapters.scales import scales_config, scales_of
from lmkit.hf.shards import save_file
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tables.rules import Stack
from lmkit.transforms import IA3, LoRA, Transform
from lmkit.transforms.merging import adapted, adapter_of, base_state


def write_adapter(
    folder: Path,
    state: Mapping[str, Tensor],
    transforms: Iterable[Transform],
    rules: Iterable[Rule],
    base: str | None = None,
) -> None:
    """Writes `adapter_config.json` and `adapter_model.safetensors`.

    Args:
        folder: where to; it has to exist.
        state: the tensors of the adapted network.
        transforms: those of its recipe.
        rules: how the exported base's tensors are made of the network's without adapters: those of `Ties`, or a
            `Rename` for each.
        base: where the exported base is, a path or a name, for those who load the folder by itself; none to leave that
            open.

    Raises:
        UserError: the network has no adapters, or such as peft cannot put beside the exported base.
    """
    adapter = _adapter(transforms, state)
    own, parts, rules = base_state(state), adapted(state), [*rules]
    of = _of_modules(rules, parts)
    others = {rule.theirs.removesuffix(".weight") for rule in rules} - of.keys()
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    if isinstance(adapter, LoRA):
        plain = {name: adapter.factors(held) for name, held in parts.items()}
        modules = {name: factors_of(rule, plain, own) for name, rule in of.items()}
        experts = {rule.theirs.removesuffix(".weight").rpartition(".")[2] for rule in rules if isinstance(rule, Stack)}
        config, tensors = config_of(adapter, modules, others, experts), dict(_named(modules))
    else:
        scales = {name: scales_of(rule, parts, own) for name, rule in of.items()}
        config, tensors = scales_config(scales, others), {f"{name}.ia3_l": each.scale for name, each in scales.items()}
    saved = saved_of(adapter, rules, own, of.keys(), tied="head.weight" not in own)
    config = config_with(config, saved, base)
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    named = {f"base_model.model.{name}": tensor for name, tensor in (tensors | saved.tensors).items()}
    save_file(named, folder / WEIGHTS)


def _adapter(transforms: Iterable[Transform], state: Mapping[str, Tensor]) -> LoRA | IA3:
    """The adapter of a recipe.

    Raises:
        UserError: it has none, or one that no file of ours can hold.
    """
    adapter = adapter_of(transforms)
    if adapter is None or not adapted(state):
        raise UserError("the network has no adapters: export it as a whole")
    if not isinstance(adapter, LoRA | IA3):
        raise UserError(f"adapters of {type(adapter).__name__} cannot be exported by themselves: {MERGED}")
    return adapter


def _of_modules(rules: Iterable[Rule], parts: Collection[str]) -> dict[str, Rule]:
    """How the adapted modules of the exported base are made of ours, by their names.

    Raises:
        UserError: an adapted module of ours has no such module.
    """
    left, found = {*parts}, {}
    for rule in rules:
        if own := left & {module_of(name) for name in rule.ours if name.endswith(".weight")}:
            found[module_of(rule.theirs)] = rule
            left -= own
    if left:
        raise UserError(f"{min(left)} has an adapter but no matrix of its own in the exported base: {MERGED}")
    return found


def _named(modules: Mapping[str, Factors]) -> Iterable[tuple[str, Tensor]]:
    for name, factors in modules.items():
        yield f"{name}.lora_A.weight", factors.narrow
        yield f"{name}.lora_B.weight", factors.wide
        if factors.lengths is not None:
            yield f"{name}.lora_magnitude_vector", factors.lengths
