"""Low-rank factors of our matrices as factors of a file's, which may hold several of ours, transposed or reordered.

A file's matrix of ours side by side, W = [W_q; W_k; W_v], gets s B A with A = [A_q; A_v] and B made of blocks, B_q and
B_v, with zeros elsewhere: exactly what ours get, by a rank that is the sum of theirs. Which rows of B go where is asked
of the family's rule, which moves rows of matrices of any width; so no table says it a second time.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.tables.rule import Rule
from lmkit.transforms.dora import lengths_of

MERGED = "export the network with its adapters merged in"

Parts = Mapping[str, Mapping[str, Tensor]]
"""The adapters' tensors by peft's names, such as `lora_A`, by the modules of ours that they adapt."""


class Factors(NamedTuple):
    """What is learned beside one matrix of a file."""

    narrow: Tensor
    """A (rank, inputs)."""
    wide: Tensor
    """B (outputs, rank)."""
    lengths: Tensor | None
    """Of DoRA's rows (outputs); none without."""
    turned: bool
    """Whether the file's matrix is transposed, (inputs, outputs)."""


@torch.no_grad()
def factors_of(rule: Rule, parts: Parts, base: Mapping[str, Tensor]) -> Factors:
    """The factors of a file's matrix.

    Args:
        rule: by which it is made of ours.
        parts: the adapters of all modules.
        base: our tensors without adapters.

    Raises:
        UserError: the file does not have rows of ours as rows, or columns, of its own.
    """
    own = {name: parts.get(module_of(name), {}) for name in rule.ours}
    narrow = torch.cat([held["lora_A"] for held in own.values() if held])
    wide, start = {}, 0
    for name, held in own.items():
        wide[name] = narrow.new_zeros(base[name].size(0), narrow.size(0))
        if held:
            wide[name][:, start : (start := start + held["lora_B"].size(1))] = held["lora_B"]
    across, rows = turned(rule, wide), moved(rule, wide)
    lengths = None
    if any("lora_magnitude_vector" in held for held in own.values()):
        # rows without an adapter keep the length they have
        told = {name: held.get("lora_magnitude_vector", lengths_of(base[name])) for name, held in own.items()}
        lengths = moved(rule, told)
    return Factors(narrow, rows.t().contiguous() if across else rows, lengths, across)


@torch.no_grad()
def parts_of(rule: Rule, factors: Factors, base: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The same way back: the adapters of our modules, by peft's names of their tensors.

    Each of ours gets the rows of B that are its own, and of A what those rows use, all of it in the end of an adapter
    that was trained as one. Without DoRA, one of several that uses nothing of A has no adapter.

    Args:
        rule: by which the file's matrix is made of ours.
        factors: of the file's matrix, as peft has them.
        base: our tensors without adapters, which may be on the meta device.
    """
    rank, like = factors.narrow.size(0), factors.wide
    wide = {name: like.new_empty(base[name].size(0), rank) for name in rule.ours}
    lengths = {name: like.new_empty(base[name].size(0)) for name in rule.ours}
    moved_back(rule, like.t() if turned(rule, wide) else like, wide)
    if factors.lengths is not None:
        moved_back(rule, factors.lengths, lengths)
    used = {name: rows.any(0) for name, rows in wide.items()}
    unused = ~torch.stack([*used.values()]).any(0)  # by all, as by an adapter that has not been trained yet
    found: dict[str, dict[str, Tensor]] = {}
    for name in rule.ours:
        own = used[name] | unused
        if not own.any() and factors.lengths is None:
            continue
        found[module_of(name)] = {"lora_A": factors.narrow[own], "lora_B": wide[name][:, own]}
        if factors.lengths is not None:
            found[module_of(name)]["lora_magnitude_vector"] = lengths[name]
    return found


def module_of(name: str) -> str:
    """Whose weight it is."""
    return name.removesuffix(".weight")


def moved(rule: Rule, ours: Mapping[str, Tensor]) -> Tensor:
    """What a file would hold, were these ours."""
    theirs = next(iter(ours.values())).new_empty(rule.shape(ours))
    for pair in rule.pairs(theirs, ours):
        pair.theirs.copy_(pair.ours)
    return theirs


def moved_back(rule: Rule, theirs: Tensor, ours: Mapping[str, Tensor]) -> None:
    """Fills ours with what a file holds."""
    for pair in rule.pairs(theirs, ours):
        pair.ours.copy_(pair.theirs)


def turned(rule: Rule, ours: Mapping[str, Tensor]) -> bool:
    """Whether a file holds rows of ours as columns."""
    rows = sum(tensor.size(0) for tensor in ours.values())
    shape = rule.shape({name: tensor[:, :0] for name, tensor in ours.items()})  # no columns, so that they are seen
    if shape not in {(rows, 0), (0, rows)}:
        raise UserError(
            f"{rule.theirs} of the exported base holds {', '.join(map(module_of, rule.ours))} in a form that no "
            f"adapter has: {MERGED}"
        )
    return shape[0] == 0
