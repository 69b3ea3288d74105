"""How layers and small networks are stirred and read by the checks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.layers import Memory
from lmkit.network import Cache, Decoder

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def stir(module: Any, seed: int = 0) -> Any:
    """Adds noise to every parameter: fresh ones are so small, or so alike, that an error would hide in rounding."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.3)
    return module


def memory(x: Tensor, documents: Tensor | None = None, part: slice = slice(0, 160)) -> Memory:
    """What an encoder might have read for a stream (B, T, D): states that are alike in each row, or a part of them.

    Args:
        x: gives rows, width, dtype and device.
        documents: the document of each state (B, S); none if all are one.
        part: which of the states there are; with documents the first S.
    """
    states = torch.randn(1, 320, x.size(-1), generator=torch.Generator().manual_seed(3)).to(x).expand(x.size(0), -1, -1)
    return Memory(states[:, part if documents is None else slice(0, documents.size(1))], documents)


def read(network: Decoder, tokens: Tensor, documents: Tensor | None = None, **more: Any) -> Tensor:
    """Hidden states (B, T, D); `more` is a cache, or the memory to look at in place of the usual one."""
    x = network.embedding.weight[tokens[:, :1]]
    return network(tokens, documents, **{"memory": memory(x)} | more)


def cached(network: Decoder, tokens: Tensor, pieces: tuple[int, ...], cache: Cache | None = None) -> Tensor:
    """Hidden states (B, T, D) of tokens that are read through a cache in pieces of these lengths."""
    cache = cache or network.cache()
    return torch.cat([read(network, piece, cache=cache) for piece in tokens.split(pieces, dim=1)], dim=1)


def side_losses(layer: nn.Module) -> Tensor | float:
    """The losses beside the task's that the layer or its parts left in the last forward."""
    return sum((loss for part in layer.modules() for loss in getattr(part, "side_losses", {}).values()), 0.0)


def seeded(function: Callable[..., Any], *arguments: Any, seed: int = 0) -> Any:
    """What a function gives after the random state is set."""
    torch.manual_seed(seed)
    return function(*arguments)


def still(module: nn.Module) -> None:
    """Sets what `nn.Dropout` draws to nothing."""
    for part in module.modules():
        if isinstance(part, DROPOUTS):
            part.p = 0.0


def weights(y: Tensor) -> Tensor:
    """Random numbers in the shape of an output, always the same ones, to weigh it in a sum."""
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(y.dtype)


@dataclass(frozen=True)
class Mode:
    """A module out of training or in it, with what it gives under seed 0.

    Attributes:
        when: nothing, or that it is in training, for what is said of it.
        whole: what it gives.
        before: the random state before.
        after: and after.
    """

    when: str
    whole: Tensor
    before: Tensor
    after: Tensor

    @property
    def drew(self) -> bool:
        """Whether it drew random numbers."""
        return not torch.equal(self.before, self.after)

    def other(self, function: Callable[..., Tensor], *arguments: Any) -> Tensor | None:
        """What it gives for something else under the same seed; none if it drew more or fewer numbers for that, so that
        nothing can be compared.
        """
        found = seeded(function, *arguments)
        return found if not self.drew or torch.equal(torch.get_rng_state(), self.after) else None


def modes(module: nn.Module, function: Callable[..., Tensor], *arguments: Any) -> Iterator[Mode]:
    """Sets a module out of training and then into it, where a function reads something with it.

    In training without `nn.Dropout`, whose draws depend on the shapes and would hide what is looked for. Not in
    training if the module then differs from itself under one seed: the check `repeats` tells of that.
    """
    for training in (False, True):
        still(module.train(training))
        torch.manual_seed(0)
        before = torch.get_rng_state()
        mode = Mode(" in training" * training, function(*arguments), before, torch.get_rng_state())
        if not training or torch.equal(mode.whole, seeded(function, *arguments)):
            yield mode
