"""The tensors of a network by name: with matrices in four bits, as another network has them, or without."""

from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.extra import needed
from lmkit.transforms.adapter import BASE
from lmkit.transforms.four_bit_linear import PREFIX
from lmkit.transforms.four_bits import FourBits
from lmkit.transforms.transform import Transform

CODES = f".{PREFIX}codes"
"""What the name of a tensor ends with where a matrix is kept in four bits."""


def four_bits_of(transforms: Iterable[Transform]) -> FourBits | None:
    """What keeps matrices in four bits among the transforms of a recipe; none if nothing does."""
    return next((transform for transform in transforms if isinstance(transform, FourBits)), None)


def quantized_by(names: Iterable[str], transforms: Iterable[Transform]) -> dict[str, FourBits]:
    """What keeps matrices in four bits, by the names of these matrices in the network as it was.

    Args:
        names: of a network's tensors, adapted or not.
        transforms: those of its recipe.
    """
    method = four_bits_of(transforms)
    modules = [name.removesuffix(CODES).removesuffix(BASE.rstrip(".")) for name in names if name.endswith(CODES)]
    return {f"{module}.weight": method for module in modules} if method is not None else {}


def quantized_state(
    state: Mapping[str, Tensor], names: Iterable[str], transforms: Iterable[Transform]
) -> dict[str, Tensor]:
    """The tensors of a network, with those matrices in four bits that are so in another.

    Args:
        state: of the network as it was, with no matrix in four bits and no adapter.
        names: of the other's tensors, adapted or not.
        transforms: those of its recipe.
    """
    quantized = {**state}
    for name, method in quantized_by(names, transforms).items():
        start = name.removesuffix("weight") + PREFIX
        quantized |= {f"{start}{each}": part for each, part in method.parts(quantized.pop(name)).items()}
    return quantized


@torch.no_grad()
def restored_state(state: Mapping[str, Tensor], transforms: Iterable[Transform]) -> dict[str, Tensor]:
    """The tensors of a network without four bits that computes what the quantized one does, adapted or not: its
    matrices are those that the codes stand for, not those that they were made of.

    Args:
        state: of the quantized network, or of one that is not.
        transforms: those of its recipe.

    Raises:
        UserError: the network has matrices in four bits that no transform has put in.
    """
    method, restored, dtype = four_bits_of(transforms), {}, _dtype_of(state)
    for name, tensor in state.items():
        module, _, last = name.rpartition(".")
        if not last.startswith(PREFIX) or module + CODES not in state:
            restored[name] = tensor
        elif name.endswith(CODES):
            if method is None:
                raise UserError(f"{module} is in four bits, but the recipe has no NF4 or Int4 in model.transforms")
            needed(method.package, type(method).__name__, "quantize")
            start = f"{module}.{PREFIX}"
            parts = {each.removeprefix(start): part for each, part in state.items() if each.startswith(start)}
            restored[f"{module}.weight"] = method.matrix(parts, dtype)
    return restored


def _dtype_of(state: Mapping[str, Tensor]) -> torch.dtype:
    """Of a network: that of most tensors, but for those of matrices in four bits, some of which stay in float32."""
    floating = [each.dtype for name, each in state.items() if f".{PREFIX}" not in name and each.is_floating_point()]
    return Counter(floating).most_common(1)[0][0] if floating else torch.get_default_dtype()
