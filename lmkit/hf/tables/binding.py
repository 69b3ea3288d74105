"""Which rule of a family tells which tensor of a network."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import copy

from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.rule import Condition, Rule
from lmkit.hf.tables.rules import Stack


def where(condition: Condition, *rules: Rule) -> tuple[Rule, ...]:
    """The same rules for those layers only whose parts are such."""
    found = tuple(copy(rule) for rule in rules)
    for rule in found:
        rule.holds = condition
    return found


def bind(rules: Iterable[Rule], ours: Mapping[str, Tensor], anatomy: Anatomy) -> list[Rule]:
    """The rules for each of our tensors, their names filled in.

    Args:
        rules: of a family.
        ours: the network's tensors by name, which may be on the meta device.
        anatomy: the parts of the network.

    Raises:
        UserError: one of ours is told by no rule, or by several.
    """
    bound = [entry for rule in rules for entry in _bound(rule, ours, anatomy)]
    told = Counter(name for rule in bound for name in rule.ours if not isinstance(rule, Stack) or rule.entry == 0)
    if untold := [name for name in ours if told[name] != 1]:
        raise UserError(
            f"the tensor {untold[0]} of the network is told by {told[untold[0]]} rules of the family, which needs one: "
            "this is a defect of the family's table, or its config.json does not say what its files hold"
        )
    if missing := [(rule, name) for rule in bound for name in rule.ours if name not in ours]:
        rule, name = missing[0]
        raise UserError(f"the network has no tensor {name}, which {rule.theirs} of the file is made of")
    return bound


def _bound(rule: Rule, ours: Mapping[str, Tensor], anatomy: Anatomy) -> Iterator[Rule]:
    """A rule for each of our tensors that its first name fits."""
    pattern = re.escape(rule.ours[0]).replace(r"\*", "(?P<last>weight|bias)").replace(r"\{all\}", "(?P<all>.+)")
    for letter in ("n", "h"):
        pattern = pattern.replace(rf"\{{{letter}\}}", rf"(?P<{letter}>\d+)")
    for name, tensor in ours.items():
        if not (found := re.fullmatch(pattern, name)):
            continue
        groups = found.groupdict()
        layer = int(groups["n"]) if "n" in groups else None
        if layer is not None and not rule.holds(anatomy.layers[layer]):
            continue
        signs = {"{n}": "n", "{h}": "h", "*": "last", "{all}": "all"}
        names = {sign: groups.get(group, "") for sign, group in signs.items()}
        filled = rule.bound(names, anatomy.sizes(layer))
        if isinstance(filled, Stack):
            yield from (filled.entry_of(entry) for entry in range(len(tensor)))
        else:
            yield filled
