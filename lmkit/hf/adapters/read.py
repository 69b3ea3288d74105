"""Reads an adapter of peft for a base that has been imported: factors of a file's matrices, as factors of ours.

Ranks and scales that differ from module to module become one: narrow factors are filled up with zeros, and what a
module is scaled by more than others goes into its B.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.adapters.factors import Factors, parts_of
from lmkit.hf.adapters.foreign import CONFIG, WEIGHTS, alpha_of, read_options
from lmkit.hf.adapters.saved import saved_back
from lmkit.hf.adapters.scales import scales_back
from lmkit.hf.files import AGAIN, Safetensors
from lmkit.hf.tables.rule import Rule
from lmkit.transforms import IA3, DoRA, LoRA
from lmkit.transforms.adapter import NAME

START = "base_model.model."
"""What peft has names begin with."""
_TENSOR = re.compile(r"(.+)\.(lora_A|lora_B|lora_magnitude_vector|ia3_l)(?:\.weight)?")


class Adapted(NamedTuple):
    """What an adapter is here."""

    transform: LoRA | IA3
    """Which is to be done to the network."""
    tensors: dict[str, Tensor]
    """That the transformed network is to load, by its names."""


def read_adapter(folder: Path, rules: Iterable[Rule], base: Mapping[str, Tensor]) -> Adapted:
    """Reads `adapter_config.json` and `adapter_model.safetensors`.

    Args:
        folder: where they are.
        rules: how the tensors of the base's files are made of the network's.
        base: the network's tensors by name, which may be on the meta device.

    Raises:
        UserError: it is no adapter of that base, of another method than LoRA, DoRA or IA3, or not whole.
    """
    options, rules = read_options(folder), [*rules]
    held, others = _held(folder)
    _check_saved(folder, others, options.get("modules_to_save") or [])
    told = {rule.theirs.removesuffix(".weight"): rule for rule in rules if rule.theirs.endswith(".weight")}
    for name in held:
        if name not in told:
            raise UserError(f"{folder} adapts {name}, which is no matrix of the base: give an adapter of that base")
        if base[told[name].ours[0]].dim() != 2:
            raise UserError(
                f"{folder} adapts {name}, one of a mixture's experts, which have no adapters here: merge it"
            )
    if not held:
        raise UserError(f"{folder / WEIGHTS} holds no tensors of an adapter: {AGAIN}")
    saved = saved_back(others, rules, base)
    read = _scales if options["peft_type"] == "IA3" else _low_rank
    adapted = read(folder, options, {name: (told[name], each) for name, each in held.items()}, base)
    adapted.transform.also = [*saved] or None
    return Adapted(adapted.transform, {**adapted.tensors, **saved})


def _check_saved(folder: Path, tensors: Iterable[str], told: Iterable[str]) -> None:
    """Compares what is there beside adapters with the ends of names of modules that are told to be kept whole.

    Raises:
        UserError: there is something else, or something is missing.
    """
    modules = {name: name.rpartition(".")[0] for name in tensors}
    if more := [name for name, module in modules.items() if not module.endswith((*told,))]:
        raise UserError(
            f"{folder / WEIGHTS} holds {min(more)}, which is nothing that LoRA, DoRA or IA3 adds to a matrix: {AGAIN}"
        )
    if less := [end for end in told if not any(module.endswith(end) for module in modules.values())]:
        raise UserError(f"{CONFIG} says modules_to_save: {less!r}, of which {folder / WEIGHTS} holds nothing: {AGAIN}")


Held = Mapping[str, tuple[Rule, Mapping[str, Tensor]]]
"""By module of the base's files: how its matrix is made, and the adapter's tensors by peft's names."""


def _scales(folder: Path, options: Mapping[str, Any], modules: Held, base: Mapping[str, Tensor]) -> Adapted:
    """Those of (IA)^3."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, (rule, held) in modules.items():
        if [*held] != ["ia3_l"]:
            raise UserError(f"{folder / WEIGHTS} holds {', '.join(sorted(held))} of {name}, but not ia3_l: {AGAIN}")
        found |= scales_back(rule, held["ia3_l"], base)
    tensors = {f"{module}.ia3_l.{NAME}": parts["ia3_l"] for module, parts in found.items()}
    return Adapted(IA3(_targets(found, base)), tensors)


def _low_rank(folder: Path, options: Mapping[str, Any], modules: Held, base: Mapping[str, Tensor]) -> Adapted:
    """Factors, of ranks and scales that become one."""
    found: dict[str, dict[str, Tensor]] = {}
    scales: dict[str, float] = {}
    for name, (rule, held) in modules.items():
        factors = _factors(folder, name, held, rule, base, options)
        parts = parts_of(rule, factors, base)
        found |= parts
        scales |= dict.fromkeys(parts, alpha_of(options, name) / _divisor(options, factors.narrow.size(0)))
    rank = max(parts["lora_A"].size(0) for parts in found.values())
    usual = Counter(scales.values()).most_common(1)[0][0]
    kind = DoRA if options.get("use_dora") else LoRA
    transform = kind(
        rank,
        usual * _divisor(options, rank),
        float(options.get("lora_dropout") or 0.0),
        _targets(found, base),
        bool(options.get("use_rslora")),
    )
    return Adapted(transform, dict(_named(found, rank, {module: scale / usual for module, scale in scales.items()})))


def _targets(found: Collection[str], base: Iterable[str]) -> list[str]:
    """The adapted modules, in the network's order."""
    return [module for module in dict.fromkeys(name.removesuffix(".weight") for name in base) if module in found]


def _divisor(options: Mapping[str, Any], rank: int) -> float:
    """By what alpha is divided."""
    return float(rank**0.5 if options.get("use_rslora") else rank)


def _held(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """The adapters' tensors by peft's names, such as `lora_A`, by the base's modules; and all others by their names.

    Raises:
        UserError: there is no file, or some of its numbers are none.
    """
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} has a {CONFIG} but no {WEIGHTS}: {AGAIN}")
    file = Safetensors(folder / WEIGHTS)
    held: dict[str, dict[str, Tensor]] = {}
    others: dict[str, Tensor] = {}
    for name in file.names:
        tensor = file.tensor(name)
        if not tensor.isfinite().all():
            raise UserError(f"{name} in {file.path} holds numbers that are infinite or none (NaN): {AGAIN}")
        if meant := _TENSOR.fullmatch(name.removeprefix(START)):
            held.setdefault(meant[1], {})[meant[2]] = tensor
        else:
            others[name.removeprefix(START)] = tensor
    return held, others


def _factors(
    folder: Path,
    name: str,
    held: Mapping[str, Tensor],
    rule: Rule,
    base: Mapping[str, Tensor],
    options: Mapping[str, Any],
) -> Factors:
    """Those of one module, of shapes that fit.

    Raises:
        UserError: one is missing, too much, or of another shape.
    """
    names = ["lora_A", "lora_B"] + ["lora_magnitude_vector"] * bool(options.get("use_dora"))
    if sorted(held) != names:
        raise UserError(
            f"{folder / WEIGHTS} holds {', '.join(sorted(held))} of {name}, but not {' and '.join(names)}: {AGAIN}"
        )
    rows, inputs = sum(base[each].size(0) for each in rule.ours), base[rule.ours[0]].size(1)
    rank = held["lora_A"].size(0)
    shapes = [tuple(held[each].shape) for each in names]
    if shapes != [(rank, inputs), (rows, rank), (rows,)][: len(shapes)]:
        raise UserError(
            f"the adapter of {name} in {folder} is of shapes {shapes}, but the base's matrix has {inputs} inputs and "
            f"{rows} outputs: give an adapter of that base"
        )
    return Factors(held["lora_A"], held["lora_B"], held.get("lora_magnitude_vector"), turned=False)


def _named(
    found: Mapping[str, Mapping[str, Tensor]], rank: int, more: Mapping[str, float]
) -> Iterable[tuple[str, Tensor]]:
    for module, parts in found.items():
        missing = rank - parts["lora_A"].size(0)
        filled = {
            **parts,
            "lora_A": F.pad(parts["lora_A"], (0, 0, 0, missing)),
            "lora_B": F.pad(parts["lora_B"], (0, missing)) * more[module],
        }
        yield from ((f"{module}.{part}.{NAME}.weight", tensor) for part, tensor in filled.items())
