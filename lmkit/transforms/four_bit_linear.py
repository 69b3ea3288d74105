"""Matrices of four bits a number, which stay as they are, for adapters beside them (QLoRA, Dettmers et al. 2023,
arXiv:2305.14314).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

PREFIX = "weight_"
"""What the names of the tensors begin with that stand for a weight."""


class Codes(ABC):
    """How numbers become codes of four bits, and numbers again."""

    @abstractmethod
    def sizes(self, outputs: int, inputs: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of the tensors that stand for a matrix, by name, whatever the network is in: scales that
        were rounded with it would change a whole block, or matrix.

        One is called `codes`, and has two numbers in a byte, (outputs, inputs / 2).
        """

    @abstractmethod
    def quantized(self, weight: Tensor) -> dict[str, Tensor]:
        """These tensors of a matrix in float32 (outputs, inputs)."""

    @abstractmethod
    def restored(self, parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """The matrix (outputs, inputs) that these tensors stand for, in a dtype, or float32 where there is no other."""

    @torch.no_grad()
    def parts(self, weight: Tensor) -> dict[str, Tensor]:
        """The same of a matrix in any dtype, in the dtypes that are kept."""
        sizes, made = self.sizes(*weight.shape), self.quantized(weight.detach().float())
        return {name: part.to(sizes[name][1]) for name, part in made.items()}

    def matrix(self, parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """The matrix that tensors stand for in any dtype, and on meta too, where no library counts."""
        codes = parts["codes"]
        if codes.is_meta:
            return torch.empty(codes.size(0), 2 * codes.size(1), dtype=dtype, device="meta")
        return self.restored(parts, dtype).to(dtype)


class FourBitLinear(nn.Linear):
    """`Linear` whose matrix is kept in four bits. It is made anew in the dtype of the input, forward and backward, and
    never kept; gradients go through to the input.

    Args:
        linear: what it replaces.
        method: how its numbers become codes, and numbers again.

    Attributes:
        dtype: of the matrix where it is asked for by itself: the network's.
    """

    def __init__(self, linear: nn.Linear, method: Codes) -> None:
        nn.Module.__init__(self)  # that of `nn.Linear` makes a matrix
        self.in_features, self.out_features, self.method = linear.in_features, linear.out_features, method
        weight, self.bias = linear.weight, linear.bias
        self.dtype = weight.dtype
        self._blank = (deepcopy(linear).to("meta"),)  # to draw first values; in a tuple, so that it is no part
        for name, (shape, dtype) in method.sizes(*weight.shape).items():
            part = torch.empty(shape, dtype=dtype, device=weight.device)
            self.register_parameter(PREFIX + name, nn.Parameter(part, requires_grad=False))
        if not weight.is_meta:
            self.take(weight)

    @property
    def parts(self) -> dict[str, Tensor]:
        """The tensors that stand for the matrix, by the names of its method."""
        return {name.removeprefix(PREFIX): part for name, part in self._parameters.items() if name != "bias"}  # type: ignore[misc]

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The matrix (outputs, inputs), made anew, in the dtype of the network."""
        return self.method.matrix(self.parts, self.dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Moves all tensors, of which those of the matrix keep their dtype."""
        fixed = [*self.parts.values()]

        def moved(tensor: Tensor) -> Tensor:
            made = fn(tensor)
            stays = made.dtype != tensor.dtype and any(tensor is part for part in fixed)
            return tensor.to(made.device) if stays else made

        self.dtype = fn(torch.empty(0, dtype=self.dtype, device=self.parts["codes"].device)).dtype
        return super()._apply(moved, recurse)

    @torch.no_grad()
    def take(self, weight: Tensor) -> None:
        """Quantizes a matrix into its place."""
        for name, part in self.method.parts(weight).items():
            self.parts[name].copy_(part)

    def reset_parameters(self) -> None:
        """First values of what it replaces."""
        blank = deepcopy(self._blank[0]).to(self.dtype).to_empty(device=self.parts["codes"].device)
        blank.reset_parameters()
        self.take(blank.weight)
        if self.bias is not None:
            with torch.no_grad():
                self.bias.copy_(blank.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        kind = input.device.type
        if not input.is_meta and torch.is_autocast_enabled(kind):
            input = input.to(torch.get_autocast_dtype(kind))
        names, parts = zip(*self.parts.items(), strict=True)
        output: Tensor = Product.apply(input, self.method, names, *parts)
        return output if self.bias is None else output + self.bias.to(output.dtype)


class Product(Function):
    """x W^T for a W that is made of its codes, and made again in the backward pass, which keeps the codes alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, method: Codes, names: tuple[str, ...], *parts: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        ctx.method, ctx.names = method, names
        ctx.save_for_backward(*parts)
        return F.linear(x, method.matrix(dict(zip(names, parts, strict=True)), x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """(..., outputs) to (..., inputs); codes have no gradient."""
        parts = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        return gradient @ ctx.method.matrix(parts, gradient.dtype), None, None, *[None] * len(parts)


def codes_in(network: nn.Module) -> set[str]:
    """The names of the tensors that stand for matrices of four bits, some in float32 whatever the network is in."""
    owners = [(name, part) for name, part in network.named_modules() if isinstance(part, FourBitLinear)]
    return {f"{name}.{own}" for name, part in owners for own in part._parameters if own.startswith(PREFIX)}
