"""Writes the adapters of a network for `peft.PeftModel.from_pretrained`, which puts them beside the exported base."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.adapters.config import config_of
from lmkit.hf.adapters.factors import MERGED, Factors, factors_of
from lmkit.hf.adapters.foreign import CONFIG, WEIGHTS
from lmkit.hf.shards import save_file
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tables.rules import Stack
from lmkit.transforms import LoRA, Transform
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
    lora = _lora(transforms, state)
    parts, rules = adapted(state), [*rules]
    modules = _modules(parts, rules, base_state(state))
    others = {rule.theirs.removesuffix(".weight") for rule in rules} - modules.keys()
    experts = {rule.theirs.removesuffix(".weight").rpartition(".")[2] for rule in rules if isinstance(rule, Stack)}
    config = config_of(lora, modules, others, experts, base)
    tensors = {f"base_model.model.{name}": tensor for name, tensor in _named(modules)}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, folder / WEIGHTS)


def _lora(transforms: Iterable[Transform], state: Mapping[str, Tensor]) -> LoRA:
    """The adapter of a recipe.

    Raises:
        UserError: it has none, or one that no file of ours can hold.
    """
    adapter = adapter_of(transforms)
    if adapter is None or not adapted(state):
        raise UserError("the network has no adapters: export it as a whole")
    if not isinstance(adapter, LoRA):
        raise UserError(f"adapters of {type(adapter).__name__} cannot be exported by themselves: {MERGED}")
    return adapter


def _modules(
    parts: Mapping[str, Mapping[str, Tensor]], rules: Iterable[Rule], base: Mapping[str, Tensor]
) -> dict[str, Factors]:
    """The factors of the exported base's modules, by their names.

    Raises:
        UserError: an adapted module of ours has no such module.
    """
    left, found = {*parts}, {}
    for rule in rules:
        if own := left & {name.removesuffix(".weight") for name in rule.ours if name.endswith(".weight")}:
            found[rule.theirs.removesuffix(".weight")] = factors_of(rule, parts, base)
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
