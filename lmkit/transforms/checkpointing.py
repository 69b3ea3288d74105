"""Activation checkpointing: what a block computes is forgotten, and computed again in the backward pass (Chen et al.
2016, arXiv:1604.06174).
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lmkit.errors import UserError
from lmkit.layers.kinds import At, Regulated
from lmkit.network import Block, Network
from lmkit.transforms.transform import Transform


class Checkpointing(Transform):
    """Blocks keep what enters them only, and are computed a second time in the backward pass: less memory, up to a
    third more time, and the same losses, gradients and dropout (Chen et al. 2016, arXiv:1604.06174).

    Args:
        every: 1 for each block, 2 for every second one, the first among them, and so on.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "nothing"

    def __init__(self, every: int = 1) -> None:
        if every < 1:
            raise UserError(f"every is {every}: give 1 to recompute each block, 2 for every second one, and so on")
        self.every = every

    def __call__(self, network: Network) -> Network:
        """Replaces the blocks' forwards, so that all names in the network stay.

        Raises:
            UserError: it has fewer blocks than `every`.
        """
        blocks = [module for module in network.modules() if isinstance(module, Block)]
        if len(blocks) < self.every:
            raise UserError(
                f"every is {self.every}, but the network has {len(blocks)} blocks: give a number from 1 to that"
            )
        for block in blocks[:: self.every]:
            block.forward = Recomputed(block)  # type: ignore[method-assign]
        return network


class Recomputed:
    """A block's forward that in training is run again in the backward pass. An object and no closure, so that the copy
    of a block runs the copy's own forward.

    Args:
        block: whose forward it is.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.forward: Callable[[Tensor, At], Tensor] = block.forward
        self._compiled: Callable[[Tensor, At], Tensor] | None = None

    def __call__(self, x: Tensor, at: At) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        run = self._compiled or self.forward
        if not (self.block.training and torch.is_grad_enabled()) or at.cache is not None:  # which would grow twice
            return run(x, at)
        y: Tensor = checkpoint(run, x, at, use_reentrant=False, context_fn=partial(_contexts, self.block))
        return y

    def compile(self) -> None:
        """Compiles what is recomputed. The recomputation is left outside, because a compiler that meets it within gives
        up the whole block wherever it cannot follow all of it.
        """
        self._compiled = torch.compile(self.forward)

    def __getstate__(self) -> dict[str, Any]:
        """For copies, which are not compiled, as those of any module."""
        return {**self.__dict__, "_compiled": None}


def _contexts(block: Block) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first run, and around the second."""
    return nullcontext(), _unchanged(block, torch.get_default_dtype())


@contextmanager
def _unchanged(block: Block, dtype: torch.dtype) -> Iterator[None]:
    """Puts back what a second run would leave or count anew; it may end in midst, once all that is needed is there.

    Args:
        block: that is run.
        dtype: the default one of the first run, which a trainer may set for the forward pass alone.
    """
    layers = [module for module in block.modules() if isinstance(module, Regulated)]
    left = [(layer, layer.side_losses, layer.figures) for layer in layers]
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in block.buffers()]
    now = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(now)
        for layer, side_losses, figures in left:
            layer.side_losses, layer.figures = side_losses, figures
        with torch.no_grad():
            for buffer, version, before in buffers:
                if buffer._version != version:
                    buffer.copy_(before)
