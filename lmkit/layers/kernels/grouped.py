"""Grouped matrix products: rows sorted by group, each group with a matrix of its own, and no padding (MegaBlocks, Gale
et al. 2022, arXiv:2211.15841). One operator, whose shapes tell nothing of the groups' sizes, so that it can be
compiled, counted and traced like any other.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

ALIGNED = 8
"""Numbers of bfloat16 in the 16 bytes that the widths of CUDA's kernel are multiples of."""

SPACE = re.sub(r"[^a-zA-Z0-9_]", "_", __name__)
"""Where PyTorch keeps the operators: of each copy of this file its own, since to define one again, as the code of an
exported model would, frees the one before, whoever uses it.
"""


@torch.library.custom_op(f"{SPACE}::grouped_product", mutates_args=())
def grouped_product(x: Tensor, matrices: Tensor, ends: Tensor) -> Tensor:
    """Rows (N, I), of which group e ends before row ends[e], times the transposes of matrices (E, O, I): (N, O)."""
    if _has_kernel(x, matrices):
        return F.grouped_mm(x, matrices.transpose(1, 2), offs=ends)
    y = x.new_empty(x.size(0), matrices.size(1))
    for group, (start, end) in enumerate(_slices(ends)):
        if end > start:
            torch.mm(x[start:end], matrices[group].T, out=y[start:end])
    return y


@torch.library.custom_op(f"{SPACE}::grouped_outer", mutates_args=())
def grouped_outer(y: Tensor, x: Tensor, ends: Tensor) -> Tensor:
    """For each group the sum over its rows of the outer products of (N, O) with (N, I): (E, O, I)."""
    if _has_kernel(x, y):
        idle = ends.diff(prepend=ends.new_zeros(1)) == 0  # some devices leave their part unwritten (pytorch 172439)
        return F.grouped_mm(y.T, x, offs=ends).masked_fill_(idle[:, None, None], 0)
    sums = x.new_empty(ends.size(0), y.size(1), x.size(1))
    for group, (start, end) in enumerate(_slices(ends)):
        torch.mm(y[start:end].T, x[start:end], out=sums[group])
    return sums


def _slices(ends: Tensor) -> Iterator[tuple[int, int]]:
    return pairwise([0, *ends.tolist()])


def _has_kernel(x: Tensor, other: Tensor) -> bool:
    """Whether PyTorch's own kernel is made for it; on a CPU it is a loop as well, and was measured to be no faster."""
    aligned = not any(width % ALIGNED for width in (x.size(1), other.size(-1), other.size(-2) if other.ndim > 2 else 0))
    return x.is_cuda and x.dtype == torch.bfloat16 and aligned and hasattr(F, "grouped_mm")


@grouped_product.register_fake
def _(x: Tensor, matrices: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(x.size(0), matrices.size(1))


@grouped_outer.register_fake
def _(y: Tensor, x: Tensor, ends: Tensor) -> Tensor:
    return x.new_empty(ends.size(0), y.size(1), x.size(1))


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x, matrices, ends = ctx.saved_tensors
    gradient = gradient.contiguous()
    of_x = grouped_product(gradient, matrices.transpose(1, 2), ends) if ctx.needs_input_grad[0] else None
    of_matrices = grouped_outer(gradient, x, ends) if ctx.needs_input_grad[1] else None
    return of_x, of_matrices, None


grouped_product.register_autograd(_backward, setup_context=_keep)


@register_flop_formula(getattr(torch.ops, SPACE).grouped_product)
def _product_flops(x: Any, matrices: Any, ends: Any, *args: Any, **kwargs: Any) -> int:
    """Every row meets one matrix, whatever the groups."""
    return 2 * x[0] * matrices[1] * matrices[2]


@register_flop_formula(getattr(torch.ops, SPACE).grouped_outer)
def _outer_flops(y: Any, x: Any, ends: Any, *args: Any, **kwargs: Any) -> int:
    return 2 * y[0] * y[1] * x[1]
