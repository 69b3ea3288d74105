"""The reference of a preference loss: what the network was before, by which the loss tells how far it has moved."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.data.examples.trees import Trees
from lmkit.errors import UserError
from lmkit.layers import Regulated
from lmkit.network import Decoder
from lmkit.transforms import Adapter, Transform


class Reference(ABC):
    """A kind: where the log-probabilities of the reference come from. What a class keeps is no part of the task, so
    that no checkpoint has it.
    """

    def check(self, network: nn.Module, transforms: Sequence[Transform]) -> None:  # noqa: B027 (most take any)
        """Looks whether a network can be compared so, which may be on the meta device.

        Args:
            network: transformed.
            transforms: what was done to it.

        Raises:
            UserError: it cannot.
        """

    @abstractmethod
    def begin(self, task: Any) -> None:
        """Gets ready, once the network and its data are there.

        Raises:
            UserError: there is no reference of this kind.
        """

    @abstractmethod
    def sums(self, task: Any, trees: Trees) -> Tensor:
        """The log-probability of each completion in nats (C), without a gradient."""


class AdaptersOff(Reference):
    """The network with its adapters switched off: no second network, but a second forward in each step."""

    def check(self, network: nn.Module, transforms: Sequence[Transform]) -> None:
        """See `Reference`."""
        if not any(hasattr(module, "base_layer") for module in network.modules()):
            raise UserError("AdaptersOff needs a network with adapters: add LoRA to model.transforms, or take Stored")
        if any(isinstance(transform, Adapter) and transform.also for transform in transforms):
            raise UserError(
                "AdaptersOff leaves on what an adapter's `also` has learned, so that it is no reference: take Stored"
            )
        if adjusted := [name for name, module in network.named_modules() if _adjusts_itself(module)]:
            raise UserError(
                f"AdaptersOff leaves on what {adjusted[0]} adjusts after each step, so that it is no reference: take "
                "Stored"
            )

    def begin(self, task: Any) -> None:
        """See `Reference`."""
        self.check(task.network, task.transforms)

    @torch.no_grad()
    def sums(self, task: Any, trees: Trees) -> Tensor:
        """See `Reference`."""
        with _adapters_off(task.network), _evaluated(task.network):
            sums, _ = task.log_probabilities(task.network, trees)
        return sums


class FrozenCopy(Reference):
    """A second network in memory, as the run has started, and a second forward in each step."""

    def __init__(self) -> None:
        self._network: Decoder | None = None

    def begin(self, task: Any) -> None:
        """See `Reference`."""
        self._network = starting_network(task)

    @torch.no_grad()
    def sums(self, task: Any, trees: Trees) -> Tensor:
        """See `Reference`."""
        sums, _ = task.log_probabilities(self._network, trees)
        return sums


def starting_network(task: Any) -> Decoder:
    """The network as the run has started, on the device and in the precision of the run.

    Raises:
        UserError: it has started from nothing.
    """
    if task.origin is None:
        raise UserError(
            f"{type(task.preference_loss).__name__} compares with the network that the run starts from: give one by "
            "model.init_from, or take a loss without a reference, such as SimPO"
        )
    strategy, precision = task.trainer.strategy, task.trainer.precision_plugin
    with (
        torch.random.fork_rng(),  # what adapters draw is none of the run's
        strategy.tensor_init_context(),  # where, and in which dtype, the run's own was quantized
        precision.module_init_context(),
    ):
        network: Any = task.started(task.origin)
    network = precision.convert_module(network)
    network.to(task.device).eval().requires_grad_(False)
    return network


def _adjusts_itself(module: nn.Module) -> bool:
    """Whether a layer changes by more than gradients."""
    return isinstance(module, Regulated) and type(module).after_step is not Regulated.after_step


@contextmanager
def _adapters_off(network: nn.Module) -> Iterator[None]:
    adapted: list[Any] = [module for module in network.modules() if hasattr(module, "base_layer")]
    learns = {parameter: parameter.requires_grad for layer in adapted for parameter in layer.parameters()}
    for layer in adapted:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in adapted:
            layer.enable_adapters(True)
        for parameter, learned in learns.items():  # of which peft has made all of an adapter learn
            parameter.requires_grad_(learned)


@contextmanager
def _evaluated(network: nn.Module) -> Iterator[None]:
    """Without dropout."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
