"""Adapters: a few new weights beside a network that stays as it is (Houlsby et al. 2019, arXiv:1902.00751), put in by
the package peft.
"""

import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.extra import needed
from lmkit.network import Network
from lmkit.registry import near
from lmkit.transforms.four_bit_linear import FourBitLinear
from lmkit.transforms.patterns import from_end, matches, matching
from lmkit.transforms.transform import Transform

ALL = "all-linear"
"""As targets: the matrices of all layers, as peft means it."""

BASE = ".base_layer."
"""In the name of a tensor that an adapted module had before."""

NAME = "default"
"""What peft calls an adapter that is given no name; it stands in the names of its tensors."""


class Adapter(Transform):
    """Puts weights that learn beside matrices of a network, and freezes all others; each subclass is a method.

    Args:
        targets: patterns of modules' names, such as `blocks.*.attention.q`, or `all-linear` for the matrices of all
            layers that are `Linear`: without the head, and without the routers and experts of mixtures.
        also: patterns of parameters' names, such as `*norm*` or `embedding.*`, that learn in full; none for none.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "network"
    adds_up: ClassVar[bool] = True
    """Whether it changes a matrix by the same numbers whatever the matrix is, so that several may be added to one."""

    def __init__(self, targets: list[str] | str = ALL, also: list[str] | None = None) -> None:
        if not targets:
            raise UserError(
                f"{type(self).__name__} has no targets: give patterns of modules' names, such as "
                f"blocks.*.attention.q, or {ALL}"
            )
        self.targets, self.also = targets, also

    @abstractmethod
    def config(self, peft: Any, targets: str) -> Any:
        """The configuration of peft.

        Args:
            peft: the package.
            targets: a regular expression that whole names of modules are compared with.
        """

    @abstractmethod
    def settle(self, layer: Any) -> None:
        """Makes what peft has put in keep the rules of layers: the dtype of what is there, first values made anew."""

    @abstractmethod
    def merged(self, weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """The matrix (outputs, inputs) that computes what the adapted one does.

        Args:
            weight: the matrix as it was.
            parts: the adapter's own tensors by the names that peft gives them, such as `lora_A`.
        """

    def merged_bias(self, bias: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """The bias (outputs) beside that matrix; as it was, unless the adapter changes it too."""
        return bias

    def __call__(self, network: Network) -> Network:
        """Puts the adapters in their places.

        Raises:
            UserError: a target matches nothing, or what cannot be adapted; or the network has adapters already.
        """
        own = type(self).__name__
        if any(hasattr(module, "base_layer") for module in network.modules()):
            raise UserError(f"{own} finds adapters in the network already: list one adapter in model.transforms")
        names = self.find(network)
        beside = self._beside(network, names)
        peft = needed("peft", own, "peft")
        peft.inject_adapter_in_model(self.config(peft, "|".join(map(re.escape, names))), network, NAME)
        for name in names:
            layer: Any = network.get_submodule(name)
            self.settle(layer)
            layer.train(layer.base_layer.training)  # what is new trains, whatever the network does
        for parameter in beside:
            parameter.requires_grad_(True)
        return network

    def find(self, network: Network) -> list[str]:
        """The names of the modules that are adapted, in their order.

        Raises:
            UserError: a target matches nothing, or what cannot be adapted.
        """
        faults = _faults(network)
        if self.targets == ALL:
            return self.among(network, faults)
        whole = [name for name, fault in faults.items() if not fault]
        patterns = [self.targets] if isinstance(self.targets, str) else self.targets
        found = {name for pattern in patterns for name in self._matching(pattern, faults)}
        return [name for name in whole if name in found]

    def among(self, network: Network, names: Collection[str]) -> list[str]:
        """Those of the modules that can be adapted.

        Raises:
            UserError: there are none.
        """
        whole = [name for name, fault in _faults(network).items() if not fault and name in names]
        if not whole:
            raise UserError(f"the network has no matrices that {type(self).__name__} could adapt: leave it out")
        return whole

    def _beside(self, network: Network, adapted: Iterable[str]) -> list[nn.Parameter]:
        """The parameters that learn in full.

        Raises:
            UserError: a pattern matches nothing, or the matrix of a target.
        """
        own = type(self).__name__
        parameters = dict(network.named_parameters(remove_duplicate=False))
        found = matching(self.also or (), parameters, f"{own}'s also", "parameter of the network")
        if twice := [name for name in adapted if f"{name}.weight" in found]:
            raise UserError(
                f"{twice[0]}.weight is in {own}'s also, but {twice[0]} is one of its targets: leave it out of one of "
                "them"
            )
        return [*found.values()]

    def _matching(self, pattern: str, faults: Mapping[str, str]) -> Iterable[str]:
        own = type(self).__name__
        calls = from_end(faults)
        matched = [name for name in faults if matches(pattern, name, calls)]
        if not matched:
            whole = [name for name, fault in faults.items() if not fault]
            close = near(pattern, whole)
            meant = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(whole[:3])}"
            raise UserError(
                f"{pattern!r}, in {own}'s targets, is the name of no module that has a matrix: {meant} (* stands for "
                f"any letters, {ALL} for all matrices of layers)"
            )
        if bad := [name for name in matched if faults[name]]:
            raise UserError(
                f"{pattern!r}, in {own}'s targets, matches {bad[0]}, which cannot be adapted ({faults[bad[0]]}): give "
                f"patterns that leave it out, or {ALL}"
            )
        return matched


def fresh(made: nn.Module, like: Tensor) -> nn.Module:
    """A part on the device and in the dtype of what it is added to."""
    return made.to(device=like.device, dtype=like.dtype)


def _faults(network: Network) -> dict[str, str]:
    """For each module with a matrix, why it cannot be adapted; empty if it can."""
    return {name: _fault(module, network) for name, module in network.named_modules() if _has_matrix(module)}


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters(recurse=False))


def _fault(module: nn.Module, network: Network) -> str:
    """Why a module with a matrix cannot be adapted; empty if it can."""
    if isinstance(module, FourBitLinear):  # whose matrix is made anew wherever it is asked for
        return ""
    if getattr(module, "weight", None) is network.head_weight:
        return "logits are made of its matrix itself"
    if not isinstance(module, nn.Linear):
        return f"its class is {type(module).__name__}, not Linear"
    if type(module).forward is not nn.Linear.forward:
        return f"{type(module).__name__} multiplies in a way of its own"
    return ""
