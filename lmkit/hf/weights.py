"""Tensors between a folder and a network, one at a time: which there have to be, and how they are copied."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from math import prod

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.hf.files import AGAIN
from lmkit.hf.folder import Folder
from lmkit.hf.shown import plain
from lmkit.hf.tables.anatomy import Anatomy
from lmkit.hf.tables.binding import bind
from lmkit.hf.tables.family import Family
from lmkit.hf.tables.rule import Rule
from lmkit.hf.targets import Target


class Ties:
    """What the tensors of a folder are in a network.

    Args:
        family: whose rules.
        anatomy: of the network.
        ours: the network's tensors by name, which may be on the meta device.
    """

    def __init__(self, family: Family, anatomy: Anatomy, ours: Mapping[str, Tensor]) -> None:
        self.family, self.anatomy = family, anatomy
        self.rules = bind(family.weights, ours, anatomy)
        self.shapes = {rule.theirs: rule.shape(ours) for rule in self.rules}

    def check(self, folder: Folder) -> None:
        """Compares the names and shapes of a folder's tensors with those that there have to be.

        Raises:
            UserError: one is missing, too much, of another shape, or a copy that is none.
        """
        shown, held = _shown(self.family, folder), set(folder.names)
        needed = {shown(name): name for name in self.shapes}
        if missing := [name for name in needed if name not in held]:
            raise UserError(f"{folder.path} lacks {_some(missing)}, which config.json asks for: {AGAIN}")
        for name, ours in needed.items():
            if (came := folder.shape(name)) != self.shapes[ours]:
                raise UserError(
                    f"{name} in {folder.path} is of shape {came}, but config.json makes it {self.shapes[ours]}: {AGAIN}"
                )
        later = self.family.left_out(folder.config, self.anatomy)
        expected = (*self.family.derived, *(shown(f"{self.family.prefix}layers.{number}.*") for number in later))
        extra = [name for name in folder.names if name not in needed and not _expected(name, expected)]
        for copy, of in self._copies():
            if shown(copy) in extra:
                _check_equal(folder, shown(copy), shown(of))
                extra.remove(shown(copy))
        if extra:
            raise UserError(
                f"{folder.path} holds {_some(extra)}, which a {self.family.name} of its config.json does not have: "
                f"{AGAIN}"
            )

    def read(self, folder: Folder, target: Target) -> None:
        """Copies all tensors of a folder that has been checked."""
        shown = _shown(self.family, folder)
        left = Counter(name for rule in self.rules for name in rule.ours)
        begun: dict[str, Tensor] = {}
        first: dict[str, tuple[str, torch.dtype]] = {}
        for rule in self.rules:
            theirs = folder.tensor(shown(rule.theirs))
            if rule.same and target.take(rule.ours[0], theirs):
                continue
            for name in rule.ours:
                other, dtype = first.setdefault(name, (shown(rule.theirs), theirs.dtype))
                if theirs.dtype != dtype:
                    raise UserError(
                        f"{shown(rule.theirs)} in {folder.path} is of {theirs.dtype}, but {other}, with which it makes "
                        f"one tensor, of {dtype}, so that one would be rounded: store both in one dtype"
                    )
                if name not in begun:
                    begun[name] = target.begin(name, theirs.dtype)
            self._copy(rule, theirs, begun, to_ours=True)
            left.subtract(rule.ours)
            for name in rule.ours:
                if not left[name]:
                    target.end(name, begun.pop(name))

    def write(self, ours: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """The tensors of a folder, made one after another, of the network's."""
        for rule in self.rules:
            if rule.same:
                yield rule.theirs, ours[rule.ours[0]].contiguous()
                continue
            theirs = torch.empty(self.shapes[rule.theirs], dtype=ours[rule.ours[0]].dtype)
            self._copy(rule, theirs, ours, to_ours=False)
            yield rule.theirs, theirs

    def sizes(self, ours: Mapping[str, Tensor]) -> dict[str, int]:
        """The bytes of each tensor of a folder, in the order in which `write` makes them."""
        return {rule.theirs: prod(self.shapes[rule.theirs]) * ours[rule.ours[0]].itemsize for rule in self.rules}

    @torch.no_grad()
    def _copy(self, rule: Rule, theirs: Tensor, ours: Mapping[str, Tensor], to_ours: bool) -> None:
        for pair in rule.pairs(theirs, ours):
            one, other = (pair.ours, pair.theirs) if to_ours else (pair.theirs, pair.ours)
            one.copy_(other)

    def _copies(self) -> Iterator[tuple[str, str]]:
        """Tensors that may be stored a second time, each with that it is equal to."""
        names = {name: rule.theirs for rule in self.family.weights for name in rule.ours}
        if self.anatomy.whole["tied"] and "head.weight" in names:
            yield names["head.weight"], names["embedding.weight"]


def _shown(family: Family, folder: Folder) -> Callable[[str], str]:
    """How a folder calls a tensor: without the family's prefix, if no tensor of it has that."""
    cut = "" if any(name.startswith(family.prefix) for name in folder.names) else family.prefix
    return lambda name: name.removeprefix(cut)


def _expected(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check_equal(folder: Folder, copy: str, of: str) -> None:
    """Compares a tensor that is tied to another with that.

    Raises:
        UserError: they differ.
    """
    if not torch.equal(folder.tensor(copy), folder.tensor(of)):
        raise UserError(
            f"{folder.path} holds {copy} and {of}, which differ although config.json ties them: set "
            "tie_word_embeddings to false there if the head is one of its own, or take it out of the file"
        )


def _some(names: list[str]) -> str:
    return plain(names[0]) if len(names) == 1 else f"{plain(names[0])} and {len(names) - 1} more"
