"""Parameters that learn in full beside an adapter: peft keeps the modules that have them whole (`modules_to_save`)."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.adapters.factors import MERGED, moved, moved_back
from lmkit.hf.adapters.names import shortest_letters
from lmkit.hf.tables.rule import Rule
from lmkit.hf.tables.rules import Stack
from lmkit.transforms import Adapter
from lmkit.transforms.patterns import from_end, matches


class Saved(NamedTuple):
    """What is kept whole."""

    modules: list[str]
    """Ends of names of the exported base's modules."""
    tensors: dict[str, Tensor]
    """All tensors of these modules, by their names there."""


@torch.no_grad()
def saved_of(
    adapter: Adapter, rules: Collection[Rule], base: Mapping[str, Tensor], adapted: Collection[str], tied: bool
) -> Saved:
    """The modules of the exported base that the adapter's option `also` means.

    Args:
        adapter: of the recipe.
        rules: how the exported base's tensors are made of the network's.
        base: the network's tensors without adapters.
        adapted: the names of the exported base's modules that have adapters.
        tied: whether the head is the embedding.

    Raises:
        UserError: peft cannot keep one of them.
    """
    calls = from_end(base)
    learned = {name for name in base for pattern in adapter.also or () if matches(pattern, name, calls)}
    modules = {_module(rule.theirs) for rule in rules if learned & {*rule.ours}}
    if fault := _fault(learned, modules & {*adapted}, rules, tied):
        raise UserError(f"{fault}: {MERGED}")
    made = [rule for rule in rules if _module(rule.theirs) in modules]
    tensors = {rule.theirs: moved(rule, {name: base[name] for name in rule.ours}) for rule in made}
    return Saved(shortest_letters(modules, {_module(rule.theirs) for rule in rules} - modules), tensors)


@torch.no_grad()
def saved_back(tensors: Mapping[str, Tensor], rules: Collection[Rule], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same way back: our tensors of what peft has kept whole.

    Args:
        tensors: of modules that it has kept, by their names in the base's files.
        rules: how the tensors of the base's files are made of the network's.
        base: the network's tensors, which may be on the meta device.

    Raises:
        UserError: the base has no such tensors, or has one of them in two places, of which peft has changed one.
    """
    told = {rule.theirs: rule for rule in rules if not isinstance(rule, Stack)}
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        rule = told.get(name)
        own = {each: tensor.new_empty(base[each].shape) for each in rule.ours} if rule else {}
        if rule is None or rule.shape(own) != tuple(tensor.shape):
            raise UserError(
                f"the adapter has learned {name} of shape {tuple(tensor.shape)} in full (modules_to_save), which is no "
                "tensor of the base: give an adapter of that base, or merge it by peft"
            )
        moved_back(rule, tensor, own)
        found |= own
    if "embedding.weight" in found and "head.weight" not in base:
        raise UserError(
            "the adapter has learned the embedding in full (modules_to_save), which is the head of this base too, but "
            "not of the adapter's: merge it by peft"
        )
    return found


def _fault(learned: Collection[str], twice: Collection[str], rules: Collection[Rule], tied: bool) -> str:
    """Why peft cannot keep what has learned; empty if it can.

    Args:
        learned: names of parameters.
        twice: the exported base's modules that have adapters too.
        rules: all of the base's.
        tied: whether the head is the embedding.
    """
    if twice:
        return (
            f"{min(twice)} has an adapter and other parameters that have learned, of which peft keeps one or the other"
        )
    if tied and "embedding.weight" in learned:
        return "the embedding, which is the head too, has learned, and peft would keep it apart from the head"
    mixtures = {_module(_module(rule.ours[0])) for rule in rules if isinstance(rule, Stack)}
    if within := [name for name in learned if any(name.startswith(f"{mixture}.") for mixture in mixtures)]:
        return f"{min(within)} has learned, which is within a mixture, whose parts transformers calls by other names"
    return ""


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def config_with(config: Mapping[str, object], saved: Saved, base: str | None) -> dict[str, object]:
    """A configuration with what all methods have."""
    return {
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        **config,
        "modules_to_save": saved.modules or None,
        "inference_mode": True,
    }
