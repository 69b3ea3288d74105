"""Compilation by `torch.compile`, block by block: every block has the same code, so that it is compiled once."""

import os
import shlex
import shutil

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from lmkit.network import Block
from lmkit.transforms.checkpointing import Recomputed


def compile_blocks(module: nn.Module) -> None:
    """Compiles each block in place, or what is recomputed of it; without a C++ compiler says so and leaves them."""
    if not any(shutil.which(compiler) for compiler in _compilers()):
        rank_zero_warn(
            "model.compile needs a C++ compiler and found none (looked for "
            f"{', '.join(_compilers())}): running eagerly; install g++ or clang++, or set CXX"
        )
        return
    for part in module.modules():
        if isinstance(part, Block):
            (part.forward if isinstance(part.forward, Recomputed) else part).compile()


def _compilers() -> list[str]:
    named = shlex.split(os.environ.get("CXX", ""))[:1]  # as in "ccache g++"
    return named or ["g++", "clang++", "cl"]
