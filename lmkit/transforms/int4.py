"""Int4: sixteen values at equal distances between a block's smallest and largest (as in Jacob et al. 2017,
arXiv:1712.05877, section 2.1), by the package torchao.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from lmkit.errors import UserError
from lmkit.transforms.adapter import ALL
from lmkit.transforms.four_bits import FourBits

RANGE = (torch.uint8, 0, 15)
"""Dtype, smallest and largest code."""


class Int4(FourBits):
    """Keeps matrices in four bits a number, for an adapter that is listed after it, as in `[Int4, LoRA]`. Each number
    of a block is replaced by the nearest of sixteen at equal distances, from the block's smallest to its largest (Jacob
    et al. 2017, arXiv:1712.05877, eq. 1); 0 is one of them. The whole network stays as it is.

    Args:
        targets: patterns of modules' names, such as `blocks.*.attention.q`, or `all-linear` for the matrices of all
            layers that are `Linear`: without the head, and without the routers and experts of mixtures.
        block: numbers, one after another in a row of the matrix, that share a scale and a code of 0: 4.63 bits a number
            at 64.
    """

    package = "torchao.quantization"

    def __init__(self, targets: list[str] | str = ALL, block: int = 64) -> None:
        super().__init__(targets, block)
        if block < 2:
            raise UserError(f"block of Int4 is {block}: give 2 or more, such as 64")

    def fits(self, outputs: int, inputs: int) -> bool:
        """See `FourBits`; blocks are whole."""
        return super().fits(outputs, inputs) and outputs * inputs % self.block == 0

    def sizes(self, outputs: int, inputs: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """See `Codes`."""
        blocks, byte = (outputs * inputs // self.block,), torch.uint8
        return {"codes": ((outputs, inputs // 2), byte), "scales": (blocks, torch.float32), "zeros": (blocks, byte)}

    def quantized(self, weight: Tensor) -> dict[str, Tensor]:
        """See `Codes`."""
        from torchao.quantization import MappingType, choose_qparams_affine, quantize_affine  # noqa: PLC0415

        rows, block = weight.reshape(-1, self.block), (1, self.block)
        scales, zeros = choose_qparams_affine(rows, MappingType.ASYMMETRIC, block, *RANGE)
        codes = quantize_affine(rows, block, scales, zeros, *RANGE).view(weight.size(0), -1, 2)
        return {"codes": codes[..., 0] << 4 | codes[..., 1], "scales": scales.view(-1), "zeros": zeros.view(-1)}

    def restored(self, parts: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """See `Codes`."""
        from torchao.quantization import dequantize_affine  # noqa: PLC0415

        packed = parts["codes"]
        codes = torch.stack([packed >> 4, packed & 15], -1).view(-1, self.block)
        scales, zeros = (parts[name].view(-1, 1) for name in ("scales", "zeros"))
        weight: Tensor = dequantize_affine(codes, (1, self.block), scales, zeros.int(), *RANGE)
        return weight.view(packed.size(0), -1)
